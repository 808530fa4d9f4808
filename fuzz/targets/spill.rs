//! Segments of a log's spill: whatever is in the files, reading them ends, and what was written is read back.

#![no_main]
#![expect(dead_code, reason = "modules as they are, without those that use them")]

#[path = "../../crates/medusa-log/src/batch.rs"]
mod batch;

mod queue {
    //! What frames are read as.

    pub(crate) type Records = Result<std::sync::Arc<crate::Batch>, medusa_proto::access::Loss>;
}

#[path = "."]
mod spill {
    //! Of the spill, what the files look like.

    #[path = "../../crates/medusa-log/src/queue/spill/frame.rs"]
    mod frame;
    #[path = "../../crates/medusa-log/src/queue/spill/payload.rs"]
    mod payload;
    #[path = "../../crates/medusa-log/src/queue/spill/segment.rs"]
    mod segment;

    use std::path::Path;

    use crate::Batch;

    /// A payload that can be read is written again as the same entries.
    pub(crate) fn payloads(bytes: &[u8]) {
        let Some(batch) = payload::decode(bytes) else { return };
        let mut written = vec![payload::VERSION];
        batch.iter().for_each(|entry| payload::encode(&entry, &mut written));
        let again = payload::decode(&written).expect("it was just written");
        assert!(again.iter().eq(batch.iter()));
        frames(&batch);
    }

    /// A batch comes back from its frames, and not from frames that were changed.
    fn frames(batch: &Batch) {
        let mut out = Vec::new();
        frame::encode_batch(batch, &mut out);
        let (mut rest, mut records) = (&out[..], 0);
        while let Some((head, behind)) = rest.split_first_chunk::<{ frame::HEAD }>() {
            let head = frame::Head::read(head).expect("it was just written");
            let (payload, behind) = behind.split_at(head.length);
            records += head.decode(payload).expect("it was just written").len();
            let mut changed = payload.to_vec();
            changed[payload.len() / 2] ^= 1;
            assert!(head.decode(&changed).is_none(), "a changed payload is taken");
            rest = behind;
        }
        assert_eq!((records, rest.len()), (batch.len(), 0));
    }

    /// A segment of any bytes is read to its end.
    pub(crate) fn segments(directory: &Path, bytes: &[u8]) {
        let path = segment::path(directory, 1);
        std::fs::write(&path, bytes).expect("a file");
        let found = segment::survey(&path).expect("a file can be surveyed");
        assert!(found.at <= found.length && found.length == bytes.len() as u64);
        let mut next = found;
        while next.at < next.length {
            let end = segment::read(directory, 1, &next).origin.end;
            assert!(end > next.at && end <= next.length, "{end} after {next:?}");
            next.at = end;
        }
    }

    /// The bytes as payloads and heads with the right checksums: what chance does not find.
    pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::from(*b"MDSPILL1\x14\0\0\0\0\0\0\0");
        out.extend(crc32fast::hash(&out).to_le_bytes());
        for piece in bytes.split(|&byte| byte == b'|') {
            let (head, payload) = piece.split_at(piece.len().min(25));
            let start = out.len();
            out.extend((payload.len() as u32).to_le_bytes());
            out.extend([head.first().map_or(1, |kind| kind & 3), 0, 0, 0]);
            out.extend(crc32fast::hash(payload).to_le_bytes());
            out.extend(head.get(1..).unwrap_or_default());
            out.resize(start + 36, 0);
            out.extend(crc32fast::hash(&out[start..]).to_le_bytes());
            out.extend(payload);
        }
        out
    }
}

use std::path::PathBuf;
use std::sync::LazyLock;

pub use batch::{Batch, MAX_FIELD};

/// A folder of this process's own, in memory where there is one.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = base.join(format!("medusa-fuzz-spill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    spill::payloads(bytes);
    spill::segments(&FOLDER, bytes);
    spill::segments(&FOLDER, &spill::sealed(bytes));
});
