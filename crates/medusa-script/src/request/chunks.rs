//! The chunks of a body, each with its share of the CPU.

use bytes::Bytes;
use medusa_http::{RequestBody, RequestBodyError};

use crate::preempt::restart_running;
use crate::task::give_way;

/// The next chunk of a body. It comes with a new CPU budget: what it takes to go through a body depends on its length,
/// which has a limit of its own. Others have their turn before it: a body may be there faster than it is gone through.
pub(crate) async fn next_chunk(body: &mut RequestBody) -> Result<Option<Bytes>, RequestBodyError> {
    let chunk = body.chunk().await?;
    // A client may send as many empty pieces as it likes, at next to no cost of its own.
    if chunk.as_ref().is_some_and(|chunk| !chunk.is_empty()) {
        restart_running();
        // Of a budget that has just begun nothing is used up.
        let _goes_on = give_way().await;
    }
    Ok(chunk)
}
