//! A request body's part of the memory that there is for requests.

use super::error::RequestBodyError;
use super::unread::{Carrier, Reservation};
use crate::budget::{Account, Held, Kind, LEAST};
use crate::limits::Limits;

/// A body's part of the memory that there is for requests.
pub(super) struct BodyMemory {
    /// Of what stays in memory.
    pub(super) held: Option<Held>,
    /// For what comes before it is read.
    pub(super) ahead: Option<Reservation>,
    /// Bytes that stay in memory. As long as they are few, they are not counted here.
    kept: u64,
    /// What there may be of these: counted with the request.
    pub(super) least: u64,
    /// See [`Limits::request_bytes`].
    limit: u64,
    pub(super) is_refused: bool,
    account: Account,
}

impl BodyMemory {
    pub(super) fn new(ahead: u64, limits: &Limits, on: &Carrier<'_>) -> Self {
        let (limit, account) = (limits.request_bytes, on.account.clone());
        let least = ahead.min(LEAST);
        let ahead = (ahead >= LEAST).then(|| Reservation::reserve(ahead, limit, on));
        let is_refused = matches!(ahead, Some(None));
        Self { held: None, ahead: ahead.flatten(), kept: 0, least, limit, is_refused, account }
    }

    pub(super) fn hold(&mut self, bytes: u64) -> Result<(), RequestBodyError> {
        self.kept += bytes;
        let held = self.held.as_ref().map_or(0, Held::bytes);
        // What it is collected in grows by half as much again, and more.
        let more = (self.kept + self.kept / 2).saturating_sub(held);
        if more < LEAST {
            return Ok(());
        }
        let has_room = if let Some(held) = &mut self.held {
            held.grow(more, self.limit)
        } else {
            self.held = self.account.take(Kind::Requests, more, self.limit);
            self.held.is_some()
        };
        if has_room { Ok(()) } else { Err(RequestBodyError::NoMemory) }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.ahead = None;
    }
}
