//! A question, and whether a datagram is its answer.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};

/// Length of a message's header.
const HEADER: usize = 12;

/// The reason why a datagram is not the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayReason {
    /// It answers another question, or none: its id is not ours.
    WrongId,
    /// It is about another name or type.
    WrongQuestion,
    /// It is no answer, or cannot be read; or it is larger than we said we take.
    Garbage,
}

impl StrayReason {
    pub(super) const ALL: &[Self; 3] = &[Self::WrongId, Self::WrongQuestion, Self::Garbage];

    /// Its name in the status.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WrongId => "wrong_id",
            Self::WrongQuestion => "wrong_question",
            Self::Garbage => "garbage",
        }
    }
}

/// A question, as it was sent.
#[derive(Debug)]
pub(super) struct SentQuery {
    id: u16,
    queries: Vec<Query>,
    /// The same, as it was sent.
    question: Vec<u8>,
}

impl SentQuery {
    /// The question in a datagram of ours.
    pub(super) fn of(datagram: &[u8]) -> Option<Self> {
        let message = Message::from_vec(datagram).ok()?;
        let question = datagram[HEADER..end_of_question(datagram)?].to_vec();
        Some(Self { id: message.id, queries: message.queries, question })
    }

    /// The number of bytes of `buffer` that are the answer, of which `length` have been received.
    ///
    /// A server that does not understand the extensions may say so by a header alone (RFC 6891 §7); it gets its question
    /// back, without which hickory would not listen to it.
    ///
    /// Of a truncated one only header and question count: what follows may be cut in the middle of a record, and is asked
    /// for again by TCP (RFC 2181 §9).
    pub(super) fn answer(&self, buffer: &mut [u8], length: usize) -> Result<usize, StrayReason> {
        let datagram = &mut buffer[..length];
        let Some(header) = datagram.first_chunk_mut::<HEADER>() else { return Err(StrayReason::Garbage) };
        if u16::from_be_bytes([header[0], header[1]]) != self.id {
            return Err(StrayReason::WrongId);
        }
        let is_truncated = header[2] & 0b10 != 0;
        let length = if is_truncated {
            header[6..].fill(0); // no records
            end_of_question(datagram).ok_or(StrayReason::Garbage)?
        } else {
            datagram.len()
        };
        let Ok(message) = Message::from_vec(&datagram[..length]) else { return Err(StrayReason::Garbage) };
        if message.message_type != MessageType::Response {
            return Err(StrayReason::Garbage);
        }
        if message.queries == self.queries {
            return Ok(length);
        }
        let refuses = matches!(message.response_code, ResponseCode::FormErr | ResponseCode::NotImp);
        let whole = HEADER + self.question.len();
        match buffer.get_mut(HEADER..whole) {
            Some(place) if refuses && length == HEADER => {
                place.copy_from_slice(&self.question);
                buffer[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
                Ok(whole)
            }
            _ => Err(StrayReason::WrongQuestion),
        }
    }
}

/// The end of the one question of a message.
fn end_of_question(datagram: &[u8]) -> Option<usize> {
    if datagram.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match *datagram.get(at)? {
            0 => break,
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None, // a pointer has nothing to point to yet
        }
    }
    let end = at + 1 + 4; // type and class
    (end <= datagram.len()).then_some(end)
}

#[cfg(test)]
mod tests;
