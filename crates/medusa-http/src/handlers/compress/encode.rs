//! The encoders. They take time: what is longer than a few kilobytes belongs on the blocking pool.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use medusa_proto::coding::Coding;
use zstd::stream::raw::CParameter;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;
/// One below zlib's default: time counts while a client waits.
const GZIP_LEVEL: u32 = 5;

/// The codings that content is compressed with as it is sent, best first. (Brotli is for what is compressed ahead of
/// time: at the levels that beat zstd it is far slower.)
pub(crate) const LIVE: [Coding; 2] = [Coding::Zstd, Coding::Gzip];

/// Compresses all of `content`. `None` if that does not make it smaller.
pub(crate) fn whole(coding: Coding, content: &[u8]) -> io::Result<Option<Bytes>> {
    let encoded = match coding {
        Coding::Zstd => zstd::bulk::compress(content, ZSTD_LEVEL)?,
        Coding::Gzip => {
            let mut encoder = gzip();
            encoder.write_all(content)?;
            encoder.finish()?
        }
        Coding::Brotli => return Ok(None),
    };
    Ok((encoded.len() < content.len()).then(|| encoded.into()))
}

fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))
}

/// An encoder for content that comes in chunks. What goes in as a chunk comes out as a chunk: it can be read at once.
pub(crate) enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// One for `coding`, which is one of [`LIVE`].
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                // For content of unknown length, level 3 has a window of 2 MiB and an encoder of more. Pages are small
                // and streams are many: so it is some 400 KiB.
                encoder.set_parameter(CParameter::WindowLog(17))?;
                encoder.set_parameter(CParameter::HashLog(15))?;
                encoder.set_parameter(CParameter::ChainLog(15))?;
                Self::Zstd(encoder)
            }
            Coding::Gzip | Coding::Brotli => Self::Gzip(gzip()),
        })
    }

    /// Takes a chunk and gives all that the client needs to see it.
    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        let written = match self {
            Self::Zstd(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Gzip(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(written).into())
    }

    /// Ends the content, and returns its last bytes.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?.into(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
        })
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Encoder(zstd)",
            Self::Gzip(_) => "Encoder(gzip)",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read;

    use super::*;

    /// Decodes it as a client does.
    pub(crate) fn decode(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Zstd => decoded = zstd::decode_all(encoded).unwrap(),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(encoded).read_to_end(&mut decoded).unwrap()),
            Coding::Brotli => panic!("nothing here encodes Brotli"),
        }
        decoded
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let content = b"to be or not to be, ".repeat(500);
        for coding in LIVE {
            let encoded = whole(coding, &content).unwrap().unwrap();
            assert!(encoded.len() < content.len() / 10);
            assert_eq!(decode(coding, &encoded), content);
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_left_alone() {
        for coding in LIVE {
            assert_eq!(whole(coding, b"xyzzy").unwrap(), None);
        }
    }

    #[test]
    fn every_chunk_can_be_read_at_once() {
        for coding in LIVE {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut sent = encoder.chunk(b"first, ").unwrap().to_vec();
            let mut seen = [0; 7];
            match coding {
                Coding::Zstd => zstd::stream::read::Decoder::new(&sent[..]).unwrap().read_exact(&mut seen),
                _ => flate2::read::GzDecoder::new(&sent[..]).read_exact(&mut seen),
            }
            .unwrap();
            assert_eq!(&seen, b"first, ");
            sent.extend(encoder.chunk(b"second").unwrap());
            sent.extend(encoder.finish().unwrap());
            assert_eq!(decode(coding, &sent), b"first, second");
        }
    }
}
