//! Requests that are traced, as whoever looks on is shown them: a statement, or somebody who may run none.

use medusa_http::{Trace, TraceEnd, TracedRequest};
use medusa_proto::progress::TaskProgress;
use tokio::time::{Instant, timeout_at};

use crate::transaction::{ProgressSender, Transaction};

/// Shows the next requests of a trace that are wanted, until its end, and says what there was. It waits for who reads: meanwhile the
/// trace's queue fills, and not the server's memory. When nobody reads any more, it ends.
///
/// # Errors
///
/// What `wants` fails with.
pub async fn show_traced<E>(
    mut trace: Trace,
    end: TraceEnd,
    events: Option<ProgressSender>,
    wants: impl AsyncFn(&TracedRequest) -> Result<bool, E>,
) -> Result<String, E> {
    let deadline = Instant::now() + end.time;
    let mut shown = 0;
    while shown < end.requests {
        let next = timeout_at(deadline, trace.next());
        let Ok(Some(request)) = Transaction::excuse(next).await else { break };
        if !wants(&request).await? {
            continue;
        }
        shown += 1;
        let Some(events) = &events else { continue };
        let told = events.send(TaskProgress::Output(request.to_string()));
        if Transaction::excuse(told).await.is_err() {
            break;
        }
    }
    Ok(trace.summary(shown))
}
