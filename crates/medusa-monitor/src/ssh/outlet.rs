//! The output of a channel.
//!
//! **Invariant:** a client that takes nothing for [`PATIENCE`] has its session ended; until then, what there is to say waits in
//! the session, and not in the protocol.

use bytes::Bytes;
use russh::ChannelId;
use russh::server::Handle;
use tokio::time::timeout;

use crate::statement::{self, Left, PATIENCE, Shows};

/// The most bytes that are handed over at a time.
const PIECE: usize = 16 * 1024;

/// Bytes on standard error, among those of a channel: RFC 4254, section 5.2.
const STDERR: u32 = 1;

/// The way to the client.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    handle: Handle,
    channel: ChannelId,
    /// Whether a terminal is at the other end, to which there is one way, and lines end as they do there.
    is_terminal: bool,
}

impl Outlet {
    pub(super) fn new(handle: Handle, channel: ChannelId, is_terminal: bool) -> Self {
        Self { handle, channel, is_terminal }
    }

    fn lines(&self, text: &str) -> String {
        statement::lines(text, if self.is_terminal { "\r\n" } else { "\n" })
    }

    pub(super) async fn stdout(&self, bytes: impl Into<Bytes>) -> Result<(), Left> {
        for piece in pieces(bytes.into()) {
            let sent = timeout(PATIENCE, self.handle.data(self.channel, piece)).await;
            sent.map_err(|_elapsed| Left)?.map_err(|_gone| Left)?;
        }
        Ok(())
    }

    async fn stderr(&self, bytes: impl Into<Bytes>) -> Result<(), Left> {
        for piece in pieces(bytes.into()) {
            let sent = timeout(PATIENCE, self.handle.extended_data(self.channel, STDERR, piece)).await;
            sent.map_err(|_elapsed| Left)?.map_err(|_gone| Left)?;
        }
        Ok(())
    }

    /// Ends the channel, with an exit status. What is `held` for it is dropped before the client is told.
    pub(super) async fn end(self, status: u32, held: impl Sized) {
        let Self { handle, channel, .. } = self;
        let end = async {
            handle.exit_status_request(channel, status).await?;
            handle.eof(channel).await?;
            drop(held);
            handle.close(channel).await
        };
        // Gone is ended, too.
        let _ended = timeout(PATIENCE, end).await;
    }
}

impl Shows for Outlet {
    async fn say(&mut self, text: &str) -> Result<(), Left> {
        self.stdout(self.lines(text)).await
    }

    async fn remark(&mut self, text: &str) -> Result<(), Left> {
        let lines = self.lines(text);
        if self.is_terminal { self.stdout(lines).await } else { self.stderr(lines).await }
    }
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE))))
}
