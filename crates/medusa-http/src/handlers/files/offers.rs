//! A file together with the forms of it that are on offer: as it is, compressed files beside it (*siblings*), and what
//! can be compressed when asked for.
//!
//! **Invariant:** a sibling is offered only if it is no older than the file: who changes the file and forgets the sibling
//! does not go on serving what was there before. A sibling is opened as the file was, beneath the root, and its name
//! begins as the file's does; where the one may be served, so may the other.

use std::sync::Arc;

use http::header::{self, HeaderMap};
use medusa_proto::coding::Coding;

use super::entity::Entity;
use crate::handlers::compress;
use crate::store::FileStamp;

/// The length, in bytes, beyond which nothing is compressed while a client waits: at some 100 MB/s that takes longer
/// than sending most of it, and the cache would hold little else. Compress it ahead of time, as `name.zst` beside it.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The file's path below the root, which is not always the one that was asked for: `index.html`.
    pub(super) path: Box<[u8]>,
    /// The file as it is.
    pub(super) entity: Arc<Entity>,
    pub(super) offers: Offers,
}

/// The other forms, by coding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offers {
    brotli: Offer,
    zstd: Offer,
    gzip: Offer,
    /// Whether other forms are made of the file, be it not at this instant.
    is_live: bool,
}

/// One other form. The stamp is that of what it is made of: as long as it stays, so does the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Nothing,
    /// A file beside the file.
    Sibling(FileStamp),
    /// To be compressed.
    Live(FileStamp),
}

impl Offers {
    /// None at all.
    pub(super) const NONE: Self =
        Self { brotli: Offer::Nothing, zstd: Offer::Nothing, gzip: Offer::Nothing, is_live: false };

    /// Offers to compress the file itself: at this instant only if its stamp is sure.
    pub(super) fn live(stamp: Option<FileStamp>) -> Self {
        let mut offers = Self { is_live: true, ..Self::NONE };
        for coding in compress::encode::LIVE {
            *offers.of_mut(coding) = stamp.map_or(Offer::Nothing, Offer::Live);
        }
        offers
    }

    /// Offers the sibling of this stamp, rather than to compress.
    pub(super) fn sibling(&mut self, coding: Coding, stamp: FileStamp) {
        *self.of_mut(coding) = Offer::Sibling(stamp);
    }

    pub(super) fn of(&self, coding: Coding) -> Offer {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }

    fn of_mut(&mut self, coding: Coding) -> &mut Offer {
        match coding {
            Coding::Brotli => &mut self.brotli,
            Coding::Zstd => &mut self.zstd,
            Coding::Gzip => &mut self.gzip,
        }
    }

    /// Whether what is sent depends on what the client takes.
    pub(super) fn any(&self) -> bool {
        self.is_live || Coding::ALL.into_iter().any(|coding| self.of(coding) != Offer::Nothing)
    }

    /// The form that the request's fields ask for; `None` for the file as it is.
    ///
    /// A request for a part gets no part of what is compressed when asked for: its bytes are not sure to be the same the
    /// next time.
    pub(super) fn choose(&self, headers: &HeaderMap) -> Option<(Coding, Offer)> {
        if !self.any() || !headers.contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let live = !headers.contains_key(header::RANGE) && !compress::is_transform_forbidden(headers);
        let offered = |coding| match self.of(coding) {
            Offer::Nothing => false,
            Offer::Sibling(_) => true,
            Offer::Live(_) => live,
        };
        let coding = compress::accepts(headers).choose(offered)?;
        Some((coding, self.of(coding)))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rustix::fs::fstat;

    use super::*;

    fn stamp() -> FileStamp {
        FileStamp::from(&fstat(tempfile::tempfile().unwrap()).unwrap())
    }

    fn chosen(offers: &Offers, fields: &[(header::HeaderName, &'static str)]) -> Option<Coding> {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        offers.choose(&fields.collect()).map(|(coding, _)| coding)
    }

    #[test]
    fn siblings_go_before_what_is_compressed() {
        let mut offers = Offers::live(Some(stamp()));
        let all = [(header::ACCEPT_ENCODING, "gzip, br, zstd")];
        assert_eq!(chosen(&offers, &all), Some(Coding::Zstd));
        offers.sibling(Coding::Brotli, stamp());
        assert_eq!(chosen(&offers, &all), Some(Coding::Brotli));
        assert!(matches!(offers.of(Coding::Gzip), Offer::Live(_)));
        offers.sibling(Coding::Gzip, stamp());
        assert!(matches!(offers.of(Coding::Gzip), Offer::Sibling(_)));
    }

    #[test]
    fn parts_and_untransformed_content_are_not_compressed() {
        let mut offers = Offers::live(Some(stamp()));
        for field in [(header::RANGE, "bytes=0-1"), (header::CACHE_CONTROL, "no-transform")] {
            let fields = [(header::ACCEPT_ENCODING, "gzip"), field];
            assert_eq!(chosen(&offers, &fields), None);
            offers.sibling(Coding::Gzip, stamp());
            assert_eq!(chosen(&offers, &fields), Some(Coding::Gzip), "a sibling is a file of its own");
            offers = Offers::live(Some(stamp()));
        }
    }

    #[test]
    fn an_answer_varies_if_there_is_a_choice_be_it_later() {
        assert!(!Offers::NONE.any());
        assert!(Offers::live(None).any());
        assert_eq!(chosen(&Offers::live(None), &[(header::ACCEPT_ENCODING, "gzip")]), None);
    }
}
