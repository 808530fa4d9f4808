//! RELP, the [Reliable Event Logging Protocol]: a stream on which the receiver acknowledges every message.
//!
//! A frame is `TXNR SP COMMAND SP DATALEN [SP DATA] LF`. Ours are `open`, with what we offer, then one `syslog` for each
//! message, and `close`; each has a transaction number, from 1 on. The receiver answers each with an `rsp` of the same number:
//! `200` once the message is its own. With number 0 it gives hints, of which `serverclose` says that it is about to go.
//!
//! Bytes come in and go out here; the socket is the stream's. A frame's *position* is its place on the connection: 0 is
//! `open`, and the first message has 1. **Invariant:** what is kept of what the receiver says is bounded, whatever it says.
//!
//! [Reliable Event Logging Protocol]: https://www.rsyslog.com/doc/relp.html

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

/// The most bytes of a message: what version 1 of the protocol allows, and what receivers end the connection beyond.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;

/// The most messages that may be on their way: a receiver that goes down may have to get them again.
pub(super) const WINDOW: u64 = 1024;

/// Behind it comes 1 again.
const LAST_NUMBER: u64 = 999_999_999;

/// The longest head of a frame: two numbers, a command, and the spaces behind them.
const MAX_HEAD: usize = 9 + 1 + 32 + 1 + 9 + 1;

/// The longest answer that is listened to. Those to messages have some ten bytes, the one to `open` a few hundred.
const MAX_ANSWER: usize = 16 * 1024;

/// Bytes of a receiver's reason that are shown.
const MAX_REASON: usize = 200;

/// Our offer: the version, who we are, and the one command we will use.
const OFFER: &str =
    concat!("relp_version=1\nrelp_software=medusa,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");

/// The first frame of a connection.
pub(super) fn open() -> Vec<u8> {
    let mut out = OFFER.as_bytes().to_vec();
    frame(0, "open", 0, &mut out);
    out
}

/// The last one, behind `messages`.
pub(super) fn close(messages: u64) -> Vec<u8> {
    let mut out = Vec::new();
    frame(messages + 1, "close", 0, &mut out);
    out
}

/// Makes a frame of the data that stand in `out` from `start` on.
pub(super) fn frame(position: u64, command: &str, start: usize, out: &mut Vec<u8>) {
    let length = out.len().saturating_sub(start);
    let gap = if length == 0 { "" } else { " " };
    let head = format!("{} {command} {length}{gap}", number_of(position));
    out.splice(start..start, head.into_bytes());
    out.push(b'\n');
}

const fn number_of(position: u64) -> u64 {
    position % LAST_NUMBER + 1
}

/// Answers of a receiver on one connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The beginning of a frame.
    heard: Vec<u8>,
    /// All frames before this position are answered, and some behind it.
    answered: u64,
    ahead: BTreeSet<u64>,
    /// What was refused since this was taken last.
    pub(super) refused: Refused,
}

/// Messages that the receiver would not have.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: u64,
    /// Why, in the receiver's words, the last time.
    pub(super) reason: String,
}

impl Session {
    /// Takes in what the receiver says.
    ///
    /// # Errors
    ///
    /// It says that it closes, or nothing that could be understood, or that it will not have us.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend_from_slice(bytes);
        let mut rest = &heard[..];
        while let Some(frame) = RelpFrame::read(&mut rest)? {
            self.take(&frame)?;
        }
        self.heard = rest.to_vec();
        Ok(())
    }

    /// Tells whether messages may be sent.
    pub(super) const fn is_open(&self) -> bool {
        self.answered > 0
    }

    /// The number of messages, from the first on, that the receiver has answered.
    pub(super) const fn delivered(&self) -> u64 {
        self.answered.saturating_sub(1)
    }

    fn take(&mut self, frame: &RelpFrame<'_>) -> io::Result<()> {
        match (frame.number, frame.command) {
            (0, b"serverclose") => {
                Err(io::Error::new(ErrorKind::ConnectionAborted, "the receiver has closed the session"))
            }
            (0, _) => Ok(()),
            (number, b"rsp") => self.answer(number, frame.data),
            (_, command) => {
                let command = String::from_utf8_lossy(command);
                Err(malformed(format!("{command:?} in place of an answer")))
            }
        }
    }

    fn answer(&mut self, number: u64, data: &[u8]) -> io::Result<()> {
        let behind = (number + LAST_NUMBER - number_of(self.answered)) % LAST_NUMBER;
        let position = self.answered + behind;
        if behind > 4 * WINDOW || self.ahead.contains(&position) {
            return Err(malformed(format!("an answer to {number}, which was not asked")));
        }
        let is_good = matches!(data, [b'2', b'0', b'0'] | [b'2', b'0', b'0', b' ' | b'\n', ..]);
        if position == 0 {
            accepts(data, is_good)?;
        } else if !is_good {
            self.refused.count += 1;
            self.refused.reason = reason(data);
        }
        self.ahead.insert(position);
        while self.ahead.remove(&self.answered) {
            self.answered += 1;
        }
        Ok(())
    }
}

/// Tells whether the answer to `open` is one that messages can be sent after.
fn accepts(data: &[u8], is_good: bool) -> io::Result<()> {
    let refused = |why: String| Err(io::Error::new(ErrorKind::ConnectionRefused, why));
    if !is_good {
        return refused(format!("the receiver refuses the session: {}", reason(data)));
    }
    let offers = || data.split(|&b| b == b'\n').skip(1);
    let offer = |name: &[u8]| offers().find_map(|line| line.strip_prefix(name)?.strip_prefix(b"="));
    if offer(b"relp_version").is_none() {
        return refused("the receiver has no version of RELP in common with us".to_owned());
    }
    match offer(b"commands") {
        Some(commands) if commands.split(|&b| b == b',').any(|command| command == b"syslog") => Ok(()),
        _ => refused("the receiver takes no syslog messages".to_owned()),
    }
}

fn reason(data: &[u8]) -> String {
    let line = data.split(|&b| b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(MAX_REASON)]).into_owned()
}

fn malformed(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the receiver does not speak RELP: {what}"))
}

/// One frame of the receiver's.
struct RelpFrame<'a> {
    number: u64,
    command: &'a [u8],
    data: &'a [u8],
}

impl<'a> RelpFrame<'a> {
    /// Takes the next one off `input`; `None` if it is not all there.
    fn read(input: &mut &'a [u8]) -> io::Result<Option<Self>> {
        let shown = &input[..input.len().min(MAX_HEAD)];
        let bad = || malformed(format!("{:?}", String::from_utf8_lossy(shown)));
        // A length of 0 has nothing behind it but the end.
        let mut spaces = 0;
        let is_end = |b: &u8| {
            spaces += u8::from(*b == b' ');
            spaces == 3 || (spaces == 2 && *b == b'\n')
        };
        let Some(end) = shown.iter().position(is_end) else {
            return if shown.len() < MAX_HEAD { Ok(None) } else { Err(bad()) };
        };
        let mut words = input[..end].split(|b| *b == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (number, command, length) = (self::number(word()), word(), self::number(word()));
        let (Some(number), Some(length)) = (number, length) else { return Err(bad()) };
        let rest = &input[end + usize::from(input[end] == b' ')..];
        if !(1..=32).contains(&command.len()) || !command.iter().all(u8::is_ascii_alphabetic) {
            return Err(bad());
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(malformed(format!("an answer of {length} bytes")));
        }
        let Some((data, behind)) = rest.split_at_checked(length) else { return Ok(None) };
        match behind {
            [] => Ok(None),
            [b'\n', behind @ ..] => {
                *input = behind;
                Ok(Some(Self { number, command, data }))
            }
            _ => Err(bad()),
        }
    }
}

/// A number of one to nine digits.
fn number(word: &[u8]) -> Option<u64> {
    let is_number = (1..=9).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
    is_number.then(|| word.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened() -> Session {
        const OFFERS: &str = "200 OK\nrelp_version=1\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog";
        let mut session = Session::default();
        let answer = format!("1 rsp {} {OFFERS}\n", OFFERS.len());
        for piece in answer.as_bytes().chunks(7) {
            assert!(!session.is_open());
            session.hear(piece).expect("rsyslog's answer");
        }
        assert!(session.is_open());
        session
    }

    #[test]
    fn frames_are_written_as_the_specification_has_them() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let opened = text(open());
        let (head, data) = opened.split_once(" relp_version=1\n").expect("the offer");
        assert_eq!(head, format!("1 open {}", OFFER.len()));
        assert!(data.ends_with("\ncommands=syslog\n"), "{data}");
        let mut out = b"before".to_vec();
        out.extend_from_slice(b"<13>message");
        frame(1, "syslog", 6, &mut out);
        assert_eq!(text(out), "before2 syslog 11 <13>message\n");
        assert_eq!(text(close(1)), "3 close 0\n");
        assert_eq!((number_of(LAST_NUMBER - 1), number_of(LAST_NUMBER)), (LAST_NUMBER, 1));
    }

    #[test]
    fn answers_count_from_the_first_on_without_a_gap() {
        let mut session = opened();
        session.hear(b"2 rsp 6 200 OK\n4 rsp 6 200 OK\n3 rs").expect("answers");
        assert_eq!(session.delivered(), 1);
        session.hear(b"p 6 200 OK\n").expect("the rest");
        assert_eq!(session.delivered(), 3);
        session.hear(b"5 rsp 9 500 never\n").expect("a refusal");
        let Refused { count, reason } = std::mem::take(&mut session.refused);
        assert_eq!((session.delivered(), count, reason.as_str()), (4, 1, "500 never"));
    }

    #[test]
    fn numbers_begin_anew_at_their_end() {
        let mut session = Session { answered: LAST_NUMBER - 1, ..Session::default() };
        session.hear(b"999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n").expect("answers");
        assert_eq!(session.answered, LAST_NUMBER + 1);
    }

    #[test]
    fn what_is_no_answer_ends_the_session() {
        for said in [
            "0 serverclose 0\n",
            "2 syslog 1 x\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "2 rsp 6 200 OK!",
            "2 rsp 999999 ",
            "99999 rsp 6 200 OK\n",
            "1 rsp 6 200 OK\n",
            "x",
            "1234567890 rsp 6 200 OK\n",
        ] {
            let mut session = opened();
            let error = session.hear(format!("{said}{}", "x".repeat(MAX_HEAD)).as_bytes()).expect_err(said);
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "{said}");
        }
        for (answer, why) in [
            ("1 rsp 15 500 not allowed\n", "500 not allowed"),
            ("1 rsp 6 200 OK\n", "version"),
            ("1 rsp 36 200 OK\nrelp_version=1\ncommands=other\n", "no syslog"),
        ] {
            let error = Session::default().hear(answer.as_bytes()).expect_err(answer);
            assert!(error.to_string().contains(why), "{error}");
        }
        // A hint that we do not know is none of an error.
        opened().hear(b"0 other 3 abc\n").expect("a hint");
    }

    proptest! {
        /// Whatever comes in whatever pieces: no panic, and no more is kept than a frame.
        #[test]
        fn what_is_kept_is_bounded(said in proptest::collection::vec("[0-9]{0,9}|[ \\n]|rsp|200 OK|.{0,20}", 0..40)) {
            let mut session = opened();
            for piece in said {
                if session.hear(piece.as_bytes()).is_err() {
                    break;
                }
                prop_assert!(session.heard.len() <= MAX_HEAD + MAX_ANSWER);
            }
        }
    }
}
