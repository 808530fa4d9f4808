//! Reading of answers, and that any message is survived.

use hickory_proto::op::OpCode;
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn key() -> Key {
    Key::new("www.example", crate::RecordType::A).expect("a name")
}

fn message(code: ResponseCode, answers: &[(&str, u32, RData)]) -> Message {
    let mut message = Message::response(1, OpCode::Query);
    message.metadata.response_code = code;
    message.add_query(Query::query(name("www.example."), RecordType::A));
    for (owner, ttl, data) in answers {
        message.add_answer(Record::from_rdata(name(owner), *ttl, data.clone()));
    }
    message
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

fn said(message: &Message) -> Result<Reply, Failure> {
    Reply::of(message, &key(), &name("www.example."))
}

fn records(reply: Result<Reply, Failure>) -> (Vec<String>, Lifetime) {
    let reply = reply.expect("a reply");
    (reply.value.expect("records").iter().map(ToString::to_string).collect(), reply.lifetime)
}

#[test]
fn records_hold_as_long_as_the_shortest() {
    let answer = message(ResponseCode::NoError, &[("www.example.", 60, a(1)), ("WWW.EXAMPLE.", 30, a(2))]);
    assert_eq!(
        records(said(&answer)),
        (vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()], Lifetime::Positive(30))
    );
}

#[test]
fn an_alias_counts_and_what_is_beside_the_way_does_not() {
    let answer = message(
        ResponseCode::NoError,
        &[("b.example.", 60, a(1)), ("www.example.", 20, cname("b.example.")), ("c.example.", 5, a(2))],
    );
    assert_eq!(records(said(&answer)), (vec!["192.0.2.1".to_owned()], Lifetime::Positive(20)));
}

#[test]
fn aliases_end() {
    let circle = message(ResponseCode::NoError, &[("www.example.", 60, cname("www.example."))]);
    assert!(matches!(said(&circle), Err(Failure::Malformed(_))));

    let chain = |length: usize| {
        let owner =
            |number| if number == 0 { "www.example.".to_owned() } else { format!("{number}.example.") };
        let mut answer = message(ResponseCode::NoError, &[(&owner(length), 60, a(1))]);
        for number in 0..length {
            answer.add_answer(Record::from_rdata(name(&owner(number)), 60, cname(&owner(number + 1))));
        }
        said(&answer)
    };
    assert!(chain(MAX_ALIASES).is_ok());
    assert!(matches!(chain(MAX_ALIASES + 1), Err(Failure::Malformed(_))));
}

#[test]
fn a_negative_answer_holds_by_its_soa_record() {
    for (code, ttl, minimum, lifetime) in [
        (ResponseCode::NXDomain, 600, 300, Lifetime::NoName(Some(300))),
        (ResponseCode::NXDomain, 60, 300, Lifetime::NoName(Some(60))),
        (ResponseCode::NoError, 600, 300, Lifetime::Negative(Some(300))),
    ] {
        let mut answer = message(code, &[]);
        let soa = SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, minimum);
        answer.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(soa)));
        let reply = said(&answer).expect("a reply");
        assert_eq!(reply.lifetime, lifetime);
        assert!(reply.value.expect_err("nothing").is_negative());
    }
    assert_eq!(
        said(&message(ResponseCode::NXDomain, &[])).expect("a reply").lifetime,
        Lifetime::NoName(None)
    );
}

#[test]
fn what_is_no_answer_to_the_question() {
    let mut other = message(ResponseCode::NoError, &[("www.example.", 60, a(1))]);
    other.queries[0].name = name("other.example.");
    assert!(matches!(said(&other), Err(Failure::Malformed(_))));
    let mut none = message(ResponseCode::NoError, &[("www.example.", 60, a(1))]);
    none.queries.clear();
    assert!(matches!(said(&none), Err(Failure::Malformed(_))));
    let failed = message(ResponseCode::ServFail, &[]);
    assert_eq!(said(&failed), Err(Failure::Code(Rcode::SERVFAIL)));
}

proptest! {
    /// Whatever can be read as a message can be taken as a reply, or refused.
    #[test]
    fn any_message_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let question = message(ResponseCode::NoError, &[]).to_vec().expect("a message");
        for bytes in [bytes.clone(), [&question[..], &bytes].concat()] {
            let mut bytes = bytes;
            if bytes.len() > 12 {
                bytes[6] = 0; // at most 255 answers, so that some can be read
            }
            if let Ok(message) = Message::from_vec(&bytes) {
                let _ = said(&message);
            }
        }
    }
}
