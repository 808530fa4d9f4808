//! Datagrams that count as an answer, and that nothing else does.

use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;

fn taken(asked: &SentQuery, datagram: &mut [u8]) -> Result<usize, StrayReason> {
    asked.answer(datagram, datagram.len())
}

fn question() -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("www.example.org.").expect("a name"), RecordType::A));
    message
}

fn asked(question: &Message) -> SentQuery {
    SentQuery::of(&question.to_vec().expect("a message")).expect("a question")
}

fn answer_to(question: &Message) -> Message {
    let mut message = question.clone();
    message.metadata.message_type = MessageType::Response;
    let name = question.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1))));
    message.add_answer(Record::from_rdata(name, 60, RData::TXT(TXT::new(vec!["some text".to_owned()]))));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

#[test]
fn an_answer_is_taken_as_it_is() {
    let question = question();
    let mut datagram = bytes(&answer_to(&question));
    let before = datagram.clone();
    assert_eq!(taken(&asked(&question), &mut datagram), Ok(before.len()));
    assert_eq!(datagram, before);
}

#[test]
fn an_answer_that_repeats_the_name_in_other_letters_is_one() {
    let question = question();
    let mut answer = answer_to(&question);
    answer.queries[0].name = Name::from_ascii("WWW.Example.ORG.").expect("a name");
    assert!(taken(&asked(&question), &mut bytes(&answer)).is_ok());
}

#[test]
fn of_a_truncated_answer_the_question_is_left() {
    let question = question();
    let whole = bytes(&answer_to(&question));
    let length = whole.len() - 2 * (12 + 4); // both records are longer than that
    for cut in length..whole.len() {
        let mut datagram = whole[..cut].to_vec();
        assert_eq!(taken(&asked(&question), &mut datagram.clone()), Err(StrayReason::Garbage));
        datagram[2] |= 0b10;
        let length = taken(&asked(&question), &mut datagram).expect("a truncated answer");
        let message = Message::from_vec(&datagram[..length]).expect("a message");
        assert!(message.truncation && message.answers.is_empty());
        assert_eq!(message.queries, question.queries);
    }
}

#[test]
fn every_other_id_is_wrong() {
    let question = question();
    let answer = bytes(&answer_to(&question));
    for id in (0..=u16::MAX).filter(|id| *id != question.id) {
        let mut datagram = answer.clone();
        datagram[..2].copy_from_slice(&id.to_be_bytes());
        assert_eq!(taken(&asked(&question), &mut datagram), Err(StrayReason::WrongId));
    }
}

#[test]
fn a_header_alone_may_say_that_the_question_is_not_understood() {
    let question = question();
    for (code, is_answer) in
        [(ResponseCode::FormErr, true), (ResponseCode::NotImp, true), (ResponseCode::ServFail, false)]
    {
        let mut refusal = Message::response(question.id, question.op_code);
        refusal.metadata.response_code = code;
        let mut buffer = bytes(&refusal);
        assert_eq!(buffer.len(), HEADER);
        buffer.resize(512, 0xff);
        let length = asked(&question).answer(&mut buffer, HEADER);
        assert_eq!(length.is_ok(), is_answer, "{code}");
        if let Ok(length) = length {
            let message = Message::from_vec(&buffer[..length]).expect("a message");
            assert_eq!((message.response_code, message.queries), (code, question.queries.clone()));
        }
        let mut no_room = bytes(&refusal);
        assert_eq!(taken(&asked(&question), &mut no_room), Err(StrayReason::WrongQuestion));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_no_answer(mut datagram in prop::collection::vec(any::<u8>(), 0..600), ours: bool) {
        let question = question();
        if ours && datagram.len() >= 2 {
            datagram[..2].copy_from_slice(&question.id.to_be_bytes());
        }
        prop_assert!(taken(&asked(&question), &mut datagram).is_err());
    }

    /// Bytes of an answer are changed, left out, put in. Whatever is taken still answers the question, and nothing panics,
    /// here or where the records are read.
    #[test]
    fn an_answer_that_was_changed(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..8),
        pointer: bool,
    ) {
        let question = question();
        let mut datagram = bytes(&answer_to(&question));
        for (place, byte, what) in edits {
            let at = place.index(datagram.len());
            match what {
                0 => datagram[at] = byte,
                1 => datagram[at] = if pointer { 0xc0 } else { byte.wrapping_add(at as u8) },
                _ if at > 12 && byte > 128 => datagram.truncate(at),
                _ => datagram.insert(at, byte),
            }
        }
        if let Ok(length) = taken(&asked(&question), &mut datagram) {
            prop_assert!(length <= datagram.len());
            let message = Message::from_vec(&datagram[..length]).expect("it was read before");
            prop_assert_eq!(&message.queries, &question.queries);
            let key = crate::name::Key::new("www.example.org", crate::RecordType::A).expect("a name");
            let _ = super::super::Reply::of(&message, &key, &question.queries[0].name);
        }
    }
}
