//! What is done by forms: a text is saved, a version is restored, a name is given or goes, a directory is made.

use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use http::header;

use super::form::{PageFields, fields};
use super::frame::Notice;
use super::place::link;
use super::text::{LineEnds, MAX_TEXT};
use super::{Asked, file, on_pool, page, see_other, upload};
use crate::admission::holder;
use crate::handler::HandlerError;
use crate::handlers::files::listing::HumanSize;
use crate::handlers::put::named;
use crate::request::RequestBody;
use crate::response::Response;
use crate::store::{Check, Current, PagePath, StoreError};

/// The most of a form that has no text in it, in bytes.
const SMALL: u64 = 16 * 1024;

/// There is no room: the server fails, and it is the client who can do something about it.
const FULL: StatusCode = StatusCode::INSUFFICIENT_STORAGE;

/// The reason why a page cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
enum ActionError {
    #[error("there is no such thing to do here")]
    Unknown,
    #[error("the text is longer than the {} that can be here", HumanSize(*.0))]
    TooLong(u64),
}

/// Does what a form asks for.
pub(super) async fn act(asked: &Asked, body: RequestBody) -> Result<Response, HandlerError> {
    let is_directory = asked.place.is_directory();
    match asked.query().action() {
        "upload" if is_directory => return upload::take(asked, body).await,
        "save" if !is_directory => return save(asked, body).await,
        "preview" if !is_directory => {
            // Each end of a line may come as two bytes.
            let fields = fields(&asked.head, body, 2 * MAX_TEXT).await?;
            return Ok(file::preview(asked, fields.get("text")?.to_owned()));
        }
        _ => {}
    }
    let fields = fields(&asked.head, body, SMALL).await?;
    match asked.query().action() {
        "folder" if is_directory => make_folder(asked, &fields).await,
        "restore" if !is_directory => restore(asked, &fields).await,
        "delete" => delete(asked).await,
        "rename" => rename(asked, &fields).await,
        _ => Err(HandlerError::client(StatusCode::NOT_FOUND, ActionError::Unknown)),
    }
}

/// Sends whoever wants to write a new file to its editor.
pub(super) fn begin(asked: &Asked) -> Result<Response, HandlerError> {
    let name = asked.query().get("new").unwrap_or_default();
    let path = named(asked.place.join(&name))?;
    if path.is_directory() {
        return Err(HandlerError::client(StatusCode::CONFLICT, StoreError::Directory));
    }
    Ok(see_other(&format!("./{}?edit", link(&name))))
}

/// What has become of a text.
enum Saved {
    Done,
    /// It is on a page of its own, with what is told: nobody has to write it again.
    Not(String, HandlerError),
}

async fn save(asked: &Asked, body: RequestBody) -> Result<Response, HandlerError> {
    let fields = fields(&asked.head, body, 2 * MAX_TEXT).await?;
    let ends = LineEnds::named(fields.get("newlines")?);
    let text = ends.of_form(fields.get("text")?);
    let replaces = fields.get("match")?.to_owned();
    let of = asked.clone();
    let saved = on_pool(move || {
        let check = |current: Option<&Current<'_>>| match current {
            None if replaces == file::NEW => Ok(()),
            Some(current) if current.tag()?.as_bytes() == replaces.as_bytes() => Ok(()),
            _ => Err(StoreError::Changed),
        };
        let most = MAX_TEXT.min(of.options.put.max_size);
        let error = if text.len() as u64 > most {
            HandlerError::client(StatusCode::PAYLOAD_TOO_LARGE, ActionError::TooLong(most))
        } else {
            match publish(&of, &text, &check) {
                Ok(()) => return Ok(Saved::Done),
                Err(error) if error.status().is_server_error() && error.status() != FULL => {
                    return Err(error);
                }
                Err(error @ StoreError::Changed) => {
                    let page = file::conflict(&of, &text, ends)?;
                    return Ok(Saved::Not(page, HandlerError::client(error.status(), error)));
                }
                Err(error) => HandlerError::client(error.status(), error),
            }
        };
        Ok(Saved::Not(file::unsaved(&of, &text, ends, replaces, explained(&error)), error))
    });
    Ok(match saved.await? {
        Saved::Done => see_other("?saved"),
        Saved::Not(content, error) => refusal(error, page(content)),
    })
}

/// Publishes a text, unless `check` says no. Blocks.
fn publish(asked: &Asked, text: &str, check: Check<'_>) -> Result<(), StoreError> {
    let (store, options, path) = (&asked.store, &asked.options.put.store, &asked.place.path);
    let len = Some(text.len() as u64);
    let mut draft = store.begin(path, len, holder(asked.head.client), options, check)?;
    draft.write(text.as_bytes(), store.root())?;
    draft.set_user(asked.user());
    store.publish(path, draft, options, check)?;
    asked.counts.published.fetch_add(1, Relaxed);
    asked.counts.bytes.fetch_add(text.len() as u64, Relaxed);
    Ok(())
}

async fn restore(asked: &Asked, fields: &PageFields) -> Result<Response, HandlerError> {
    let (of, version) = (asked.clone(), fields.get("version")?.to_owned());
    on_pool(move || {
        let (path, options) = (&of.place.path, &of.options.put.store);
        of.store.restore_by(of.user(), path, &version, options, &|_| Ok(()))
    })
    .await?;
    asked.counts.published.fetch_add(1, Relaxed);
    Ok(see_other("?restored"))
}

async fn delete(asked: &Asked) -> Result<Response, HandlerError> {
    let of = asked.clone();
    on_pool(move || of.store.remove(&of.place.path, &of.options.put.store, &|_| Ok(()))).await?;
    asked.counts.removed.fetch_add(1, Relaxed);
    let above = if asked.place.is_directory() { "../" } else { "./" };
    Ok(see_other(&format!("{above}?removed={}", query_value(asked.place.name()))))
}

async fn rename(asked: &Asked, fields: &PageFields) -> Result<Response, HandlerError> {
    let to = fields.get("to")?.trim_matches('/');
    let path = named(PagePath::plain(to))?;
    let of = asked.clone();
    on_pool(move || of.store.rename(&of.place.path, &path, &of.options.put.store, false)).await?;
    let slash = if asked.place.is_directory() { "/" } else { "" };
    Ok(see_other(&format!("{}{slash}?renamed", asked.place.way_to(to))))
}

async fn make_folder(asked: &Asked, fields: &PageFields) -> Result<Response, HandlerError> {
    let name = fields.get("name")?.trim_matches('/').to_owned();
    let path = named(asked.place.join(&name))?;
    let of = asked.clone();
    on_pool(move || of.store.make_directory(&path)).await?;
    Ok(see_other(&format!("./{}/?made", link(&name))))
}

/// A value in a query.
fn query_value(text: &str) -> String {
    medusa_proto::query::encode(text.as_bytes())
}

/// Says what has gone wrong on the page where it was asked for, and what can be done about it. What is the server's own failure is told
/// as everywhere.
pub(super) fn failed(asked: &Asked, error: HandlerError) -> Result<Response, HandlerError> {
    if error.status().is_server_error() && error.status() != FULL {
        return Err(error);
    }
    let text = explained(&error);
    let content = if is_for_script(asked) { Response::text(text) } else { page(problem(asked, text)) };
    Ok(refusal(error, content))
}

/// The answer to a request that cannot be, with a page of ours.
fn refusal(error: HandlerError, content: Response) -> Response {
    let failed = Response::failed(error);
    let mut headers = failed.headers.clone();
    headers.extend(content.headers);
    Response { headers, body: content.body, is_page: false, ..failed }
}

/// What has gone wrong, and what can be done about it.
fn explained(error: &HandlerError) -> String {
    let mut told = error.to_string();
    if let Some(first) = told.get(..1).map(str::to_uppercase) {
        told.replace_range(..1, &first);
    }
    format!("{told}. {}", advice(error.status()))
}

/// What helps against errors of a status.
fn advice(status: StatusCode) -> &'static str {
    match status {
        FULL => "Delete what is not needed, or ask who runs this server for more room.",
        StatusCode::PAYLOAD_TOO_LARGE => "Make it smaller, or ask who runs this server for a higher limit.",
        StatusCode::CONFLICT => "Choose another name, or look at the folder again.",
        StatusCode::PRECONDITION_FAILED => "Say that it is to be replaced, or give it another name.",
        StatusCode::FORBIDDEN => "Choose another name.",
        _ => "Nothing is changed.",
    }
}

/// Whether a script of ours has sent the request, and shows what it is answered itself.
pub(super) fn is_for_script(asked: &Asked) -> bool {
    asked.head.headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/plain")
}

fn problem(asked: &Asked, text: String) -> String {
    let mut page = super::frame::begin(&asked.place, asked.user(), Some(&Notice::Problem(text)), None);
    // Where it was asked for is the address without its query.
    page.push_str("<p class=\"ways\"><a href=\"?\">Go back</a></p>\n");
    super::frame::end(page)
}
