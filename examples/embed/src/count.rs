//! A handler: counts the lines of what it is sent.

use http::StatusCode;
use medusa::handler::{Handler, HandlerError, HandlerFuture, Request, Response, Status};

/// Answers with the number of lines in the request's body, however long that is.
#[derive(Debug)]
pub(crate) struct Count;

impl Handler for Count {
    fn handle(&self, mut request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            if request.body.is_empty() {
                let why = "send something to be counted";
                return Err(HandlerError::client(StatusCode::BAD_REQUEST, why));
            }
            let mut lines = 0;
            while let Some(chunk) = request.body.chunk().await? {
                lines += chunk.split(|&byte| byte == b'\n').count() - 1;
            }
            Ok(Response::text(format!("{lines} lines\n")))
        })
    }

    fn status(&self) -> Status {
        Status::new("count", "")
    }
}
