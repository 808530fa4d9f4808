//! What clients send, right and wrong, in any pieces.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut plain = Vec::new();
    write(0, false, false, payload, &mut plain);
    let head = plain.len() - payload.len();
    let mut frame = vec![first, plain[1] | MASKED];
    frame.extend(&plain[2..head]);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let (mut compress, mut out) =
        (Compress::new(Compression::best(), false), Vec::with_capacity(data.len() + 100));
    compress.compress_vec(data, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

const MAX: usize = 200_000;

/// Everything that is received of it.
fn read(bytes: &[u8], pieces: usize, compress: bool) -> Result<Vec<Received>, Failure> {
    let (mut reader, mut all) = (Reader::new(MAX, compress), Vec::new());
    for piece in bytes.chunks(pieces) {
        reader.push(piece);
        loop {
            match reader.next()? {
                NextFrame::Received(received) => all.push(received),
                NextFrame::Busy => assert!(reader.held() <= (2 * MAX) as u64 + deflate::INFLATER),
                NextFrame::Wait => break,
            }
        }
    }
    Ok(all)
}

fn one(bytes: &[u8]) -> Result<Bytes, Failure> {
    let whole = read(bytes, usize::MAX, true);
    assert_eq!(whole, read(bytes, 1000, true));
    match whole?.remove(0) {
        Received::Message { message, .. } => Ok(message.data().clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_of_all_lengths_come_compressed_or_not() {
    for len in [0, 16, 64, 125, 126, 256, 1024, 4096, 8192, 32_768, 65_535, 65_536, 131_072] {
        let data: Vec<u8> = (0..len).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect();
        assert_eq!(one(&frame(0x82, &data)).unwrap(), data);
        assert_eq!(one(&frame(0xc2, &compressed(&data))).unwrap(), data);
        // In fragments, and something between them.
        let (whole, mut bytes) = (compressed(&data), Vec::new());
        let last = whole.len().div_ceil(256).max(1) - 1;
        for (at, piece) in (0..=last).map(|at| (at, whole.chunks(256).nth(at).unwrap_or_default())) {
            let first = if at == 0 { 0x42 } else { 0 } | if at == last { 0x80 } else { 0 };
            bytes.extend(frame(first, piece));
        }
        bytes.extend(frame(0x89, b"ping"));
        let all = read(&bytes, 97, true).unwrap();
        assert!(matches!(&all[0], Received::Message { message, came }
            if *message.data() == data && *came == whole.len() as u64));
        assert_eq!(all[1], Received::Ping(Bytes::from_static(b"ping")));
    }
}

/// The examples of [RFC 7692 §7.2.3](https://www.rfc-editor.org/rfc/rfc7692#section-7.2.3).
#[test]
fn the_examples_of_the_rfc_are_read() {
    for (name, payload) in [
        ("one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..]),
        ("not compressed", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
        ("a last block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        ("two blocks", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
    ] {
        assert_eq!(one(&frame(0xc1, payload)).unwrap(), "Hello", "{name}");
    }
    assert_eq!(one(&frame(0xc1, &[0x00])).unwrap(), "");
}

#[test]
fn a_bomb_is_stopped_where_it_becomes_too_long() {
    let bomb = compressed(&vec![0; 50 * MAX]);
    assert!(bomb.len() < MAX / 10, "{} bytes are sent", bomb.len());
    assert_eq!(one(&frame(0xc2, &bomb)), Err(Failure::TooLong));
    assert_eq!(one(&frame(0xc2, &compressed(&vec![0; MAX]))).unwrap().len(), MAX);
    assert_eq!(one(&frame(0xc2, &compressed(&vec![0; MAX + 1]))), Err(Failure::TooLong));
    let mut reader = Reader::new(usize::MAX, true);
    reader.push(&frame(0xc2, &bomb));
    assert_eq!(reader.next(), Ok(NextFrame::Busy), "all at once");
    assert!(reader.held() < 300_000);
}

#[test]
fn what_is_wrong_is_told_apart() {
    let protocol = |bytes: &[u8], compress| {
        let failure = read(bytes, usize::MAX, compress).unwrap_err();
        assert!(matches!(failure, Failure::Protocol(_)), "{bytes:x?}: {failure:?}");
        assert_eq!(read(bytes, 1, compress).unwrap_err(), failure);
    };
    protocol(&frame(0xc1, &compressed(b"not agreed on")), false);
    protocol(&frame(0xc9, b""), true);
    protocol(&frame(0xc8, b""), true);
    protocol(&frame(0xca, b""), true);
    protocol(&[frame(0x41, &[0]), frame(0xc0, b"")].concat(), true);
    protocol(&frame(0xa1, b""), true);
    protocol(&frame(0x91, b""), true);
    protocol(&frame(0x83, b""), true);
    protocol(&frame(0x8b, b""), true);
    protocol(&frame(0x09, b""), true);
    protocol(&frame(0x89, &[0; 126]), true);
    protocol(&frame(0x80, b""), true);
    protocol(&[frame(0x01, b""), frame(0x81, b"")].concat(), true);
    protocol(&[0x81, 0x01, b'x'], true);
    protocol(&frame(0x88, b"x"), true);
    protocol(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], true);
    for bytes in [
        frame(0x81, b"\xff"),
        frame(0xc1, &compressed(b"\xff")),
        frame(0xc1, b"\xff\xff\xff\xff"),
        frame(0x88, b"\x03\xe8\xff"),
    ] {
        let failure = read(&bytes, usize::MAX, true).unwrap_err();
        assert!(matches!(failure, Failure::Content(_)), "{bytes:x?}: {failure:?}");
    }
    // As soon as it has come, though more of its frame is announced.
    let cut = &frame(0x41, &[0x17, 0x83, 0xc5, 0, 0, 0, 0, 0])[..9];
    for pieces in [1, 9] {
        assert!(matches!(read(cut, pieces, true), Err(Failure::Content(_))), "in pieces of {pieces}");
    }
    // Before any of it has come.
    let announced = &frame(0x82, &vec![0; MAX + 1])[..14];
    assert_eq!(read(announced, usize::MAX, true), Err(Failure::TooLong));
    let mut reader = Reader::new(1 << 40, true);
    reader.push(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((reader.next(), reader.held()), (Ok(NextFrame::Wait), 0), "a length reserves nothing");
}

#[test]
fn a_close_has_a_code_that_may_be_sent() {
    for (code, is_one) in [
        (999, false),
        (1000, true),
        (1004, false),
        (1005, false),
        (1006, false),
        (1014, true),
        (1015, false),
        (4999, true),
    ] {
        let bytes = frame(0x88, &[&u16::to_be_bytes(code)[..], b"why"].concat());
        let read = read(&bytes, 3, false);
        assert_eq!(read.is_ok(), is_one, "{code}: {read:?}");
    }
    assert_eq!(read(&frame(0x88, b""), 1, false), Ok(vec![Received::Close(Close::of(Close::NO_CODE, ""))]));
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..6),
        pieces in 1_usize..40,
        compress in any::<bool>(),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        prop_assert_eq!(read(&bytes, usize::MAX, compress), read(&bytes, pieces, compress));
    }
}
