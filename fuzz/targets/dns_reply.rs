//! What DNS servers send: which datagrams are answers, and what they say.
//!
//! The parts of `medusa-dns` that read, without the resolver around them and its TLS library.

#![no_main]
#![expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "modules as they are, without those that use them"
)]

#[path = "../../crates/medusa-dns/src/cache/mod.rs"]
mod cache;
#[path = "../../crates/medusa-dns/src/data.rs"]
mod data;
#[path = "../../crates/medusa-dns/src/error.rs"]
mod error;
#[path = "../../crates/medusa-dns/src/lookup_error.rs"]
mod lookup_error;
#[path = "../../crates/medusa-dns/src/name.rs"]
mod name;
#[path = "../../crates/medusa-dns/src/options.rs"]
mod options;

#[path = "."]
mod upstream {
    //! Of the servers, how they are heard.

    #[path = "../../crates/medusa-dns/src/upstream/failure.rs"]
    mod failure;
    #[path = "../../crates/medusa-dns/src/upstream/reply.rs"]
    #[rustfmt::skip] // it would look for the tests in it from here
    mod reply;
    #[path = "../../crates/medusa-dns/src/upstream/sent_query.rs"]
    #[rustfmt::skip] // it would look for the tests in it from here
    mod sent_query;

    use failure::Failure;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::Name;

    use crate::data::RecordType;
    use crate::name::Key;

    /// The question of all inputs; its id is theirs.
    fn question(kind: RecordType, id: u16) -> Message {
        let mut message = Message::query();
        message.metadata.id = id;
        message.add_query(Query::query(Name::from_ascii("www.example.org.").expect("a name"), kind.wire()));
        message
    }

    /// Reads `input`: a byte for the type that was asked for, then a datagram.
    pub(crate) fn hear(input: &[u8]) {
        let Some((kind, datagram)) = input.split_first() else { return };
        let kind = RecordType::ALL[usize::from(*kind) % RecordType::ALL.len()];
        let Some(id) = datagram.first_chunk().copied().map(u16::from_be_bytes) else { return };
        let question = question(kind, id);
        let asked = sent_query::SentQuery::of(&question.to_vec().expect("a message")).expect("a question");
        // With room behind it, as a receive buffer has.
        let mut heard = datagram.to_vec();
        heard.resize(datagram.len() + 64, 0xff);
        let Ok(length) = asked.answer(&mut heard, datagram.len()) else { return };
        assert!(length <= heard.len(), "more than there is room for");
        let message = Message::from_vec(&heard[..length]).expect("it was read before");
        assert_eq!(message.queries, question.queries, "an answer to another question");
        let key = Key::new("www.example.org", kind).expect("a name");
        let Ok(reply) = reply::Reply::of(&message, &key, &question.queries[0].name) else { return };
        let Ok(records) = reply.value else { return };
        assert!(!records.is_empty(), "no records, and no error");
        for record in records.iter() {
            let shown = record.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}

pub use data::{Data, RecordType};
pub use error::DnsError;
pub use lookup_error::{LookupError, Rcode};
pub use options::{CacheOptions, Protocol};

libfuzzer_sys::fuzz_target!(|input: &[u8]| upstream::hear(input));
