//! A request's body, read by a script: whole, as JSON, as a form, or piece by piece.
//!
//! **Invariants:** what was read once is gone, and reading it in a second way is an error, not an empty body. (But a wrapper's
//! function that has read it as a whole passes on what it has read.) One
//! coroutine reads at a time. What nobody reads is never asked of the client. The time spent here is counted apart: a
//! client's slowness is bounded by the server's limits for bodies, not by the handler's budget; and each chunk brings a
//! CPU budget of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use medusa_http::{Held, RequestBody, RequestBodyError};
use medusa_proto::with_causes;

use super::chunks::next_chunk;
use super::fault::ClientFault;
use super::open::{ActiveRequests, head, with};
use crate::counted::shown_name;
use crate::forms::{self, Form, FormError};

/// The stage of reading the body.
#[derive(Debug)]
pub(super) enum Body {
    /// Not at all.
    Untouched(RequestBody),
    /// Piece by piece, up to here; with what came with the last piece and was not asked for. Boxed, for the state is
    /// moved with every request, and most are not read like this.
    Streamed(Box<(RequestBody, Bytes)>),
    /// Somebody is at it.
    Busy(Instant),
    /// Reading it failed, or was broken off.
    Failed,
    /// To its end.
    Over(Box<FinishedBody>),
    /// The handler behind has it.
    PassedOn,
}

#[derive(Debug)]
pub(super) struct FinishedBody {
    /// Piece by piece, so that there is an end to come to.
    streamed: bool,
    trailers: Option<HeaderMap>,
    form: Option<Rc<Form>>,
    /// What was read as a whole, where it may be passed on to the handler behind.
    whole: Option<Bytes>,
    /// Counts what was read of it as the client's memory, for the script has it as long as the request.
    _held: Option<Held>,
}

impl FinishedBody {
    fn new(body: &mut RequestBody) -> Self {
        let (trailers, held) = (body.trailers().cloned(), body.take_held());
        Self { streamed: false, trailers, form: None, whole: None, _held: held }
    }
}

fn misuse(what: &str) -> mlua::Error {
    mlua::Error::runtime(format!("the request's body {what}"))
}

impl Body {
    /// The reason why it cannot be read in the way that was asked for.
    fn refuse(&self) -> mlua::Error {
        misuse(match self {
            Self::Busy(_) => "is being read already, by another coroutine",
            Self::Failed => "could not be read to its end",
            Self::Untouched(_) | Self::Streamed(_) => "has been read in part already",
            Self::Over(_) => "has been read already",
            Self::PassedOn => "went to the handler behind",
        })
    }

    /// Since when somebody has been reading it.
    pub(super) fn busy_since(&self) -> Option<Instant> {
        if let Self::Busy(since) = self { Some(*since) } else { None }
    }
}

/// The right to read: there is one at a time. When it is dropped, the body is in the state that it was left in. The
/// VM's collector drops it, at any allocation, if its coroutine was abandoned.
pub(super) struct Reading<'a> {
    open: &'a RefCell<ActiveRequests>,
    handle: f64,
    since: Instant,
    leave: Body,
}

impl<'a> Reading<'a> {
    /// Takes the body out of a request. One that has been read in part is given only to who would `go_on` with it.
    fn begin(
        open: &'a RefCell<ActiveRequests>,
        handle: f64,
        go_on: bool,
    ) -> mlua::Result<(RequestBody, Bytes, Self)> {
        let since = Instant::now();
        let (body, ahead) =
            with(open, handle, |entry| match std::mem::replace(&mut entry.body, Body::Busy(since)) {
                Body::Untouched(body) => Ok((body, Bytes::new())),
                Body::Streamed(streamed) if go_on => Ok(*streamed),
                refused => {
                    let error = refused.refuse();
                    entry.body = refused;
                    Err(error)
                }
            })?;
        Ok((body, ahead, Self { open, handle, since, leave: Body::Failed }))
    }

    /// Takes the body out of a request that is passed on: one of which nothing was read, or all of it at once.
    pub(super) fn pass_on(
        open: &'a RefCell<ActiveRequests>,
        handle: f64,
    ) -> mlua::Result<(RequestBody, Self)> {
        let since = Instant::now();
        let read = with(open, handle, |entry| match &mut entry.body {
            Body::Over(over) => {
                let whole = over.whole.take();
                Ok(whole.map(|whole| (whole, std::mem::replace(&mut entry.body, Body::Busy(since)))))
            }
            _ => Ok(None),
        })?;
        // It stays counted as the client's, wherever it is.
        if let Some((whole, leave)) = read {
            return Ok((RequestBody::from_bytes(whole), Self { open, handle, since, leave }));
        }
        let (body, _nothing, mut reading) = Self::begin(open, handle, false)?;
        reading.leave = Body::PassedOn;
        Ok((body, reading))
    }

    fn leave(mut self, body: Body) {
        self.leave = body;
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let leave = std::mem::replace(&mut self.leave, Body::Failed);
        let back = with(self.open, self.handle, |entry| {
            entry.body = leave;
            entry.waited += self.since.elapsed();
            Ok(())
        });
        // An error: the request is over, and its body with it.
        drop(back);
    }
}

fn client_fault(error: RequestBodyError) -> mlua::Error {
    ClientFault::from(error).raise()
}

/// The whole body.
pub(super) async fn whole(open: &RefCell<ActiveRequests>, handle: f64) -> mlua::Result<Bytes> {
    let (mut body, _nothing, reading) = Reading::begin(open, handle, false)?;
    let all = body.collect().await.map_err(client_fault)?;
    let may_be_passed_on = with(open, handle, |entry| Ok(entry.passage.is_open()))?;
    reading.leave(Body::Over(Box::new(FinishedBody {
        whole: may_be_passed_on.then(|| all.clone()),
        ..FinishedBody::new(&mut body)
    })));
    Ok(all)
}

/// The next `wanted` bytes, fewer at the end; without a number, whatever comes next. Nothing at the end.
pub(super) async fn read(
    open: &RefCell<ActiveRequests>,
    handle: f64,
    wanted: Option<usize>,
) -> mlua::Result<Option<Bytes>> {
    if at_end(open, handle)? {
        return Ok(None);
    }
    let (mut body, mut ahead, reading) = Reading::begin(open, handle, true)?;
    let piece = next(&mut body, &mut ahead, wanted).await.map_err(client_fault)?;
    reading.leave(match piece {
        Some(_) => Body::Streamed(Box::new((body, ahead))),
        None => Body::Over(Box::new(FinishedBody { streamed: true, ..FinishedBody::new(&mut body) })),
    });
    Ok(piece)
}

/// Whether the body was read piece by piece, to its end.
fn at_end(open: &RefCell<ActiveRequests>, handle: f64) -> mlua::Result<bool> {
    with(open, handle, |entry| Ok(matches!(&entry.body, Body::Over(over) if over.streamed)))
}

async fn next(
    body: &mut RequestBody,
    ahead: &mut Bytes,
    wanted: Option<usize>,
) -> Result<Option<Bytes>, RequestBodyError> {
    while ahead.is_empty() {
        match next_chunk(body).await? {
            Some(piece) => *ahead = piece,
            None => return Ok(None),
        }
    }
    let Some(wanted) = wanted else { return Ok(Some(std::mem::take(ahead))) };
    if ahead.len() >= wanted {
        return Ok(Some(ahead.split_to(wanted)));
    }
    let mut piece = BytesMut::from(std::mem::take(ahead));
    while piece.len() < wanted {
        let Some(mut more) = next_chunk(body).await? else { break };
        piece.extend_from_slice(&more.split_to(more.len().min(wanted - piece.len())));
        *ahead = more;
    }
    Ok(Some(piece.freeze()))
}

/// Refuses a body that is compressed: what `Content-Type` says is of what it was before (RFC 9110 §8.4, §15.5.16).
pub(super) fn not_coded(headers: &HeaderMap) -> mlua::Result<()> {
    let coding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    let message = format!("the body is compressed ({}), which is not read", shown_name(coding));
    Err(ClientFault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).raise())
}

/// The body as a form. It is kept, so that it can be asked for again.
pub(super) async fn form(open: &RefCell<ActiveRequests>, handle: f64) -> mlua::Result<Rc<Form>> {
    let known = with(open, handle, |entry| match &entry.body {
        Body::Over(over) => Ok(over.form.clone()),
        _ => Ok(None),
    })?;
    if let Some(form) = known {
        return Ok(form);
    }
    not_coded(&head(open, handle)?.headers)?;
    let (mut body, _nothing, reading) = Reading::begin(open, handle, false)?;
    let holder = medusa_http::holder(head(open, handle)?.client);
    let kind = match forms::Kind::of(&head(open, handle)?.headers) {
        Ok(kind) => kind,
        Err(error) => {
            // Nothing has been read: it can still be read as what it is.
            reading.leave(Body::Untouched(body));
            return Err(raise(error));
        }
    };
    let form = Rc::new(forms::read(&kind, &mut body, holder).await.map_err(raise)?);
    reading.leave(Body::Over(Box::new(FinishedBody {
        form: Some(Rc::clone(&form)),
        ..FinishedBody::new(&mut body)
    })));
    Ok(form)
}

fn raise(error: FormError) -> mlua::Error {
    match error.status() {
        Some(status) => ClientFault::new(status, error.to_string()).by_option(error.option()).raise(),
        None => mlua::Error::runtime(with_causes(&error)),
    }
}

/// The fields that came behind the body.
pub(super) fn trailers(open: &RefCell<ActiveRequests>, handle: f64) -> mlua::Result<Option<HeaderMap>> {
    with(open, handle, |entry| match &entry.body {
        Body::Over(over) => Ok(over.trailers.clone()),
        _ => Err(misuse("comes before its trailers: read it to its end first")),
    })
}
