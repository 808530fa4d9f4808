//! Packets that are no answers: from those who do not see the question, and from a server that is broken or worse.

use std::collections::HashSet;

use hickory_proto::op::Message;
use medusa_dns::{Data, LookupError, Protocol, RecordType, Resolver, ServerOptions};
use medusa_proto::status::Value;

use crate::server::{Question, Server, Step, a, bytes, impatient, name, txt};

const GOOD: &str = "192.0.2.1";

fn lie(question: &Question) -> Vec<u8> {
    question.answer(60, &[a("203.0.113.66")])
}

fn with_wrong_id(question: &Question) -> Vec<u8> {
    let mut lie = lie(question);
    lie[0] ^= 1;
    lie
}

fn about_another_name(question: &Question) -> Vec<u8> {
    let mut message: Message = question.reply();
    message.queries[0].name = name("other.example.");
    bytes(&message)
}

/// The header and question of an answer with one record, whose name is what follows.
fn with_name(question: &Question, owner: &[u8]) -> Vec<u8> {
    let mut message = bytes(&question.reply());
    message[7] = 1; // one answer
    message.extend(owner);
    message.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 66]);
    message
}

/// 50 KB, of which the first 1,232 bytes are all that is received.
fn with_much_text(question: &Question) -> Vec<u8> {
    let text = "x".repeat(250);
    let records: Vec<_> = (0..200).map(|_| ("www.example.", 60, txt(&text))).collect();
    question.records(&records)
}

/// Sends `strays`, then the answer. Gives what the resolver made of it, and its server's status.
async fn after(strays: fn(&Question) -> Vec<Step>) -> (Vec<String>, medusa_proto::status::Status) {
    let server = Server::start(move |question| {
        let mut steps = strays(question);
        steps.push(Step::Send(question.answer(60, &[a(GOOD)])));
        steps
    });
    let resolver = server.resolver();
    let answer = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    (answer.records.iter().map(Data::to_string).collect(), resolver.status().children.remove(0))
}

#[tokio::test]
async fn a_packet_from_elsewhere_is_not_heard() {
    let (records, status) = after(|question| vec![Step::SendFromElsewhere(lie(question))]).await;
    assert_eq!(records, [GOOD]);
    assert_eq!(status.get("answers"), Some(&Value::Count(1)));
}

#[tokio::test]
async fn a_packet_with_another_id_changes_a_counter() {
    let (records, status) =
        after(|question| (0..20).map(|_| Step::Send(with_wrong_id(question))).collect()).await;
    assert_eq!(records, [GOOD]);
    assert_eq!(status.get("wrong_id"), Some(&Value::Count(20)));
}

#[tokio::test]
async fn a_packet_about_another_name_changes_a_counter() {
    let (records, status) = after(|question| vec![Step::Send(about_another_name(question))]).await;
    assert_eq!(records, [GOOD]);
    assert_eq!(status.get("wrong_question"), Some(&Value::Count(1)));
}

#[tokio::test]
async fn garbage_changes_a_counter() {
    let (records, status) = after(|question| {
        let id = question.message.id.to_be_bytes();
        let length = bytes(&question.reply()).len();
        let to_itself = [0xc0 | (length >> 8) as u8, length as u8];
        let forward = [0xc0 | ((length + 2) >> 8) as u8, (length + 2) as u8];
        [
            vec![],
            id.to_vec(),
            [&id[..], &[0xff; 300]].concat(),
            bytes(&question.message), // the question itself
            with_name(question, &to_itself),
            with_name(question, &forward),
            with_name(question, &[0xc0]),
            with_name(question, &[63, b'a']),
            lie(question)[..20].to_vec(),
            with_much_text(question), // larger than we said we take
        ]
        .map(Step::Send)
        .into()
    })
    .await;
    assert_eq!(records, [GOOD]);
    assert_eq!(status.get("garbage"), Some(&Value::Count(10)), "{status}");
    assert_eq!(status.get("wrong_id"), None);
}

#[tokio::test]
async fn garbage_alone_is_silence() {
    let server = Server::start(|question| vec![Step::Send(question.message.id.to_be_bytes().to_vec())]);
    let error =
        server.resolver_with(impatient()).lookup("www.example", RecordType::A).await.expect_err("no answer");
    assert!(matches!(error, LookupError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn ids_and_ports_cannot_be_foretold() {
    const QUESTIONS: usize = 200;
    let server = Server::of_one_address(60);
    let resolver = server.resolver();
    for number in 0..QUESTIONS {
        resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
    }
    let seen = server.seen();
    let ids: Vec<u16> = seen.iter().map(|question| question.message.id).collect();
    let ports: Vec<u16> = seen.iter().map(|question| question.from.port()).collect();
    for numbers in [ids, ports] {
        let different: HashSet<&u16> = numbers.iter().collect();
        assert!(different.len() > QUESTIONS * 9 / 10, "{} of {}", different.len(), numbers.len());
        // They do not count: neither up nor down, by one or by two.
        let near = numbers.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 2).count();
        assert!(near < QUESTIONS / 20, "{near} are next to the one before");
        // They are from everywhere: each quarter of the range has its part.
        for quarter in 0..4 {
            let part = numbers.iter().filter(|number| *number >> 14 == quarter).count();
            assert!(part > QUESTIONS / 10, "{part} in quarter {quarter}");
        }
    }
}

#[tokio::test]
async fn by_tcp_another_question_is_no_answer() {
    let server = Server::start(|question| vec![Step::Send(about_another_name(question))]);
    let options = ServerOptions { protocol: Protocol::Tcp, ..impatient() };
    let error =
        server.resolver_with(options).lookup("www.example", RecordType::A).await.expect_err("no answer");
    assert!(matches!(error, LookupError::Malformed { .. } | LookupError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn by_tcp_garbage_is_survived() {
    let server = Server::start(|question| match &*question.name {
        "good.example." => vec![Step::Send(question.answer(60, &[a(GOOD)]))],
        "id.example." => vec![Step::Send(with_wrong_id(question))],
        _ => vec![Step::Send(vec![0xff; 65_535])],
    });
    let options = ServerOptions { protocol: Protocol::Tcp, ..impatient() };
    let resolver = server.resolver_with(options);
    for bad in ["bad.example", "id.example"] {
        resolver.lookup(bad, RecordType::A).await.expect_err("no answer");
        resolver.lookup("good.example", RecordType::A).await.expect("an answer");
        resolver.flush(None);
    }
}

#[tokio::test]
async fn the_largest_answer_is_taken_and_its_memory_counted() {
    let server = Server::start(|question| {
        if !question.tcp {
            return vec![Step::Send(question.truncated())];
        }
        let texts: Vec<_> = (0..250).map(|number| txt(&format!("{number:0>230}"))).collect();
        vec![Step::Send(question.answer(60, &texts))]
    });
    let resolver: std::sync::Arc<Resolver> = server.resolver();
    for number in 0..3 {
        let answer = resolver.lookup(&format!("{number}.example"), RecordType::Txt).await.expect("an answer");
        assert_eq!(answer.records.len(), 250);
    }
    let Some(Value::Bytes(size)) = resolver.status().get("size").cloned() else { panic!("no size") };
    assert!((150_000..500_000).contains(&size), "{size} bytes");
    assert!(resolver.cache(1)[0].answer.len() < 2000, "what is shown is cut");
}
