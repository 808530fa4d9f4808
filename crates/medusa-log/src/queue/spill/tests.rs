//! What is in the files, whatever is done to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use medusa_proto::access::{Loss, Peer, Record, Timestamp, Version};
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};
use proptest::option;
use proptest::prelude::*;

use super::directory::Directory;
use super::frame::{HEAD, Head, MAX_PAYLOAD, encode_batch, encode_loss};
use super::segment::{MARK, append, survey};
use super::*;
use crate::batch::tests::{batch, record};
use crate::{Batch, MAX_FIELD};

/// All that is owned by an entry.
#[derive(Clone, Debug)]
enum Owned {
    Access {
        time: i64,
        peer: Peer,
        version: Version,
        numbers: (u16, u64, u64),
        texts: [Option<String>; 7],
        raw: [Option<Vec<u8>>; 2],
    },
    Event {
        time: i64,
        level: Level,
        part: String,
        message: String,
        request: Option<String>,
    },
}

impl Owned {
    fn entry(&self) -> Entry<'_> {
        match self {
            Self::Event { time, level, part, message, request } => {
                let (time, request) = (Timestamp::from_micros(*time), request.as_deref());
                Event { time, level: *level, part, message, request }.into()
            }
            Self::Access { time, peer, version, numbers, texts, raw } => {
                let [name, user, method, target, host, server, id] = texts.each_ref().map(Option::as_deref);
                let [referer, user_agent] = raw.each_ref().map(Option::as_deref);
                Record {
                    time: Timestamp::from_micros(*time),
                    peer: *peer,
                    name,
                    user,
                    method: method.unwrap_or_default(),
                    target: target.unwrap_or_default(),
                    version: *version,
                    host,
                    status: numbers.0,
                    bytes: numbers.1,
                    duration_us: numbers.2,
                    referer,
                    user_agent,
                    server: server.unwrap_or_default(),
                    id,
                }
                .into()
            }
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let peer = prop_oneof![
        Just(Peer::Unix),
        any::<std::net::Ipv4Addr>().prop_map(|ip| Peer::Ip(ip.into())),
        any::<std::net::Ipv6Addr>().prop_map(|ip| Peer::Ip(ip.into())),
    ];
    let version = prop_oneof![Just(Version::Http10), Just(Version::Http11), Just(Version::Http2)];
    let texts = proptest::array::uniform7(option::of(".{0,20}"));
    let raw = proptest::array::uniform2(any::<Option<Vec<u8>>>());
    let access = (any::<i64>(), peer, version, any::<(u16, u64, u64)>(), texts, raw).prop_map(
        |(time, peer, version, numbers, texts, raw)| Owned::Access {
            time,
            peer,
            version,
            numbers,
            texts,
            raw,
        },
    );
    let level = proptest::sample::select(&Level::ALL[..]);
    let event = (any::<i64>(), level, ".{0,20}", ".{0,40}", option::of(".{0,20}")).prop_map(
        |(time, level, part, message, request)| Owned::Event { time, level, part, message, request },
    );
    prop_oneof![access, event]
}

fn entries(batch: &Batch) -> Vec<Entry<'_>> {
    batch.iter().collect()
}

/// A segment of `count` batches of two records, and where each of its frames ends.
fn segment(directory: &Path, count: usize) -> (u64, Vec<u64>) {
    let mut length = 0;
    let ends = (0..count).map(|n| {
        let mut bytes = Vec::new();
        encode_batch(&batch([format!("/{n}a"), format!("/{n}b")]), &mut bytes);
        length = append(directory, 7, length, &bytes).expect("room");
        length
    });
    let ends = ends.collect();
    (length, ends)
}

/// Replays a segment as the queue would: the records that come, and those that are lost.
fn replay(directory: &Path) -> (u64, u64) {
    let path = segment::path(directory, 7);
    let found = survey(&path).expect("a file");
    let mut left = found;
    let (mut came, mut lost) = (0, 0);
    while left.at < left.length {
        let StoredFrame { records, is_damaged, origin } = read(directory, 7, &left);
        left.at = origin.end;
        let gone = match records {
            Ok(batch) => {
                came += batch.len() as u64;
                batch.len() as u64
            }
            Err(loss) if is_damaged => {
                let gone = loss.records.min(left.records);
                lost += gone;
                gone
            }
            Err(_) => 0,
        };
        left.records -= gone;
    }
    assert_eq!(left.records, 0, "the survey and the replay agree");
    assert_eq!(came + lost, found.records);
    (came, lost)
}

#[test]
fn a_segment_is_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let loss = Loss { records: 9, from: Timestamp::from_micros(1), to: Timestamp::from_micros(2) };
    let mut bytes = Vec::new();
    encode_batch(&batch(["/a", "/b"]), &mut bytes);
    encode_loss(&loss, &mut bytes);
    let length = append(dir.path(), 7, 0, &bytes).expect("room");
    assert_eq!(
        fs::metadata(segment::path(dir.path(), 7)).expect("a file").permissions().mode() & 0o777,
        0o600
    );

    let mut next = Segment { length, ..Segment::NEW };
    let first = read(dir.path(), 7, &next);
    assert_eq!(entries(&first.records.expect("a batch")), entries(&batch(["/a", "/b"])));
    next.at = first.origin.end;
    let told = read(dir.path(), 7, &next);
    assert_eq!((told.records.expect_err("a loss"), told.origin.end), (loss, length));
    assert!(!told.is_damaged);
    assert_eq!(replay(dir.path()), (2, 0), "what was lost before is not lost again");
}

#[test]
fn what_has_been_settled_is_not_replayed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, ends) = segment(dir.path(), 3);
    mark(dir.path(), Origin { segment: 7, end: ends[1] });
    assert_eq!(replay(dir.path()), (2, 0));
    mark(dir.path(), Origin { segment: 7, end: u64::MAX });
    assert_eq!(replay(dir.path()), (0, 0), "a mark beyond the end is the end");
}

#[test]
fn a_file_cut_off_anywhere_is_read_up_to_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let (length, ends) = segment(dir.path(), 3);
    let path = segment::path(dir.path(), 7);
    let whole = fs::read(&path).expect("a file");
    for cut in 0..length {
        fs::write(&path, &whole[..cut as usize]).expect("a file");
        let (read, lost) = replay(dir.path());
        assert_eq!(read, 2 * ends.iter().filter(|&&end| end <= cut).count() as u64, "cut at {cut}");
        let at_end = cut <= MARK || ends.contains(&cut);
        assert_eq!(lost == 0, at_end, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_what_it_hits() {
    let dir = tempfile::tempdir().expect("a directory");
    let (length, ends) = segment(dir.path(), 3);
    let path = segment::path(dir.path(), 7);
    let whole = fs::read(&path).expect("a file");
    for bit in 0..length * 8 {
        let mut bytes = whole.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).expect("a file");
        let (read, lost) = replay(dir.path());
        let at = bit / 8;
        if at < MARK {
            assert_eq!((read, lost), (6, 0), "without its mark, all is replayed");
            continue;
        }
        let hit = ends.iter().filter(|&&end| end <= at).count();
        let start = if hit == 0 { MARK } else { ends[hit - 1] };
        if at < start + HEAD as u64 {
            assert_eq!((read, lost), (2 * hit as u64, 1), "byte {at}: a head, and all that follows");
        } else {
            assert_eq!((read, lost), (4, 2), "byte {at}: the payload alone");
        }
    }
}

#[test]
fn a_large_batch_is_many_frames_none_of_them_too_long() {
    let long = "x".repeat(MAX_FIELD);
    let mut large = Batch::new();
    for n in 0..60 {
        large.push(&Record {
            user: Some(&long),
            host: Some(&long),
            referer: Some(long.as_bytes()),
            user_agent: Some(long.as_bytes()),
            name: Some(&long),
            id: Some(&long),
            method: &long,
            server: &long,
            ..record(&long, n)
        });
    }
    let mut bytes = Vec::new();
    encode_batch(&large, &mut bytes);
    let (mut rest, mut read) = (&bytes[..], Vec::new());
    while let Some(head) = rest.first_chunk::<HEAD>() {
        let head = Head::read(head).expect("a head");
        assert!(head.length <= MAX_PAYLOAD);
        let (frame, after) = rest.split_at(head.frame() as usize);
        read.push(head.decode(&frame[HEAD..]).expect("a batch"));
        rest = after;
    }
    assert!(read.len() > 10);
    assert_eq!(read.iter().flat_map(entries).collect::<Vec<_>>(), entries(&large));
}

#[test]
fn a_directory_has_one_owner_and_the_next_adopts_what_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let base = dir.path().join("spill/target");
    let first = Directory::open(&base).expect("a directory");
    let second = Directory::open(&base).expect("its sibling");
    assert_eq!(first.path, base);
    assert_eq!(second.path, dir.path().join("spill/target-2"));
    for directory in [&first, &second] {
        assert_eq!(fs::metadata(&directory.path).expect("it").permissions().mode() & 0o777, 0o700);
    }
    segment(&first.path, 2);
    fs::write(first.path.join("0000000000000008.spill"), "").expect("a file");
    fs::write(first.path.join("note.txt"), "not ours").expect("a file");
    let adopted = second.adopt(1000);
    assert!(adopted.0.is_empty() && adopted.1, "it is still in use");
    drop(first);
    let adopted = second.adopt(1000);
    assert_eq!(
        adopted.0.iter().map(|(number, found)| (*number, found.records)).collect::<Vec<_>>(),
        [(999, 4)]
    );
    assert!(!adopted.1 && segment::path(&second.path, 999).exists());
    assert!(base.join("note.txt").exists(), "what is not ours stays");
    assert_eq!(Directory::open(&base).expect("free again").path, base);
}

#[test]
fn names_of_segments_are_read_back_and_others_are_not() {
    for number in [0, 7, MIDDLE, u64::MAX] {
        let path = segment::path(Path::new("d"), number);
        assert_eq!(path.file_name().and_then(|name| name.to_str()).and_then(segment::number), Some(number));
    }
    for name in ["lock", ".spill", "7.spill", "+000000000000007.spill", "000000000000000G.spill"] {
        assert_eq!(segment::number(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(all in proptest::collection::vec(owned(), 1..20)) {
        let mut batch = Batch::new();
        for entry in &all {
            batch.push_entry(&entry.entry());
        }
        let mut bytes = Vec::new();
        encode_batch(&batch, &mut bytes);
        let (head, payload) = bytes.split_first_chunk::<HEAD>().expect("a head");
        let read = Head::read(head).expect("a head").decode(payload).expect("one frame with the batch");
        prop_assert_eq!(entries(&read), entries(&batch));
    }

    /// Also behind a checksum that is right.
    #[test]
    fn arbitrary_bytes_are_a_batch_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3_u8) {
        let mut payload = vec![payload::VERSION, kind];
        payload.extend_from_slice(&bytes);
        if let Some(batch) = payload::decode(&payload) {
            prop_assert!(batch.len() <= payload.len());
        }
        let _ = payload::decode(&bytes);
    }

    #[test]
    fn an_arbitrary_file_is_read_to_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..200_usize) {
        let dir = tempfile::tempdir().expect("a directory");
        segment(dir.path(), 1);
        let path = segment::path(dir.path(), 7);
        let mut file = fs::read(&path).expect("a file");
        file.truncate(keep);
        file.extend_from_slice(&bytes);
        fs::write(&path, file).expect("a file");
        let (read, lost) = replay(dir.path());
        prop_assert!(read <= 2 && lost <= 3);
    }
}
