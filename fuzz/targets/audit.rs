//! The audit log: whatever is in its files, reading them ends, nobody without the key writes one, and what was changed is
//! found where it was changed.

#![no_main]
#![expect(dead_code, reason = "modules as they are, without those that use them")]

#[path = "."]
mod audit {
    #[path = "../../crates/medusa-monitor/src/audit/chain.rs"]
    pub mod chain;
    #[path = "../../crates/medusa-monitor/src/audit/check.rs"]
    pub mod check;
    #[path = "../../crates/medusa-monitor/src/audit/record.rs"]
    pub mod record;
    pub mod files {
        pub const LOG: &str = "audit.log";
    }

    use chain::{ChainKey, Head, Mac};
    use check::Check;
    use files::LOG;
    use medusa_proto::access::Timestamp;
    use record::{Link, Record, RecordKind, Who, seal};

    pub(crate) fn key() -> ChainKey {
        ChainKey::new(&[7; 32])
    }

    /// The line of the first bad record, if there is one.
    pub(crate) fn check(log: &[u8], head: &[u8]) -> Option<u64> {
        let key = key();
        let mut check = Check::new(&key, Some(head), &[]);
        check.file(LOG, log, |line| drop(Record::decode(line.bytes))).expect("memory");
        check.finish().faults.first().map(|fault| fault.line)
    }

    /// A log of statements with these texts, and its head.
    pub(crate) fn log<'a>(texts: impl Iterator<Item = &'a str>) -> (Vec<u8>, Vec<u8>) {
        let (mut log, mut last) = (Vec::new(), Head::NONE);
        for text in texts {
            let who = Who { name: text.to_owned(), ..Who::default() };
            let mut record = Record::new(RecordKind::Statement, Timestamp::from_micros(last.seq as i64));
            record = record.by(who).text(text, 64);
            record.seq = last.seq + 1;
            record.link = (last.seq == 0).then(|| Link::new(Mac::NONE, 1));
            let signed = record.signed().expect("JSON");
            last = Head { seq: record.seq, mac: key().record(last.mac, &signed) };
            let line = seal(signed, last.mac);
            assert_eq!(Record::decode(&line).expect("it was just written"), record);
            log.extend(line);
        }
        let head = last.encode(1, &key()).into_bytes();
        (log, head)
    }
}

libfuzzer_sys::fuzz_target!(|input: (&str, &[u8], usize, u8)| {
    let (texts, bytes, at, bits) = input;
    assert!(bytes.is_empty() || audit::check(bytes, bytes).is_some(), "a log without a key");

    let (mut log, head) = audit::log(texts.split('|').take(16));
    let text = std::str::from_utf8(&log).expect("UTF-8");
    assert!(!text.contains(|c: char| c != '\n' && medusa_proto::shown::is_hidden(c)));
    assert_eq!(audit::check(&log, &head), None);
    let at = at % log.len();
    log[at] ^= bits;
    let line = log[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
    assert_eq!(audit::check(&log, &head), (bits != 0).then_some(line));
    // What follows the change may begin another way.
    log.splice(at.., bytes.iter().copied());
    let _ends = audit::check(&log, &head);
});
