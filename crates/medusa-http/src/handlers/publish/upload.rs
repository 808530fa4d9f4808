//! Files that are uploaded by a form: each goes to the store as it comes, as what is put does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::StatusCode;

use super::actions::is_for_script;
use super::form::{disposition, parts, pass_over, text};
use super::{Asked, on_pool, see_other};
use crate::admission::holder;
use crate::forms::{FormPart, FormParts};
use crate::handler::HandlerError;
use crate::handlers::files::listing::HumanSize;
use crate::handlers::put::{PIECE, named, write};
use crate::request::RequestBody;
use crate::response::Response;
use crate::store::{Current, PagePath, StoreError, StoreOptions};

/// The most parts of one upload: files, and what is said of them.
const MOST_PARTS: usize = 1000;
/// The most bytes of an upload, as a multiple of the longest file.
const MOST_FILES: u64 = 100;
/// The longest path of a file, in bytes.
const MOST_OF_PATH: u64 = 4096;

/// The reason why an upload is not taken.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("no file was chosen")]
    Nothing,
    #[error("an upload has at most {MOST_PARTS} files")]
    TooMany,
    #[error("there is already {0}, which was not replaced")]
    Exists(String),
    #[error("it is longer than the {} that a file may have here", HumanSize(*.0))]
    TooLong(u64),
    #[error("the upload of {name} failed: {why}{}", before(*.taken))]
    File { name: String, why: String, taken: usize },
}

/// What has become of the files before one that failed.
fn before(taken: usize) -> &'static str {
    if taken > 0 { "; those before it are published" } else { "" }
}

/// What is said of the files behind it.
#[derive(Debug, Default)]
struct FileFields {
    /// The path of the next file, below the directory.
    path: Option<String>,
    replaces: bool,
}

/// Takes the files of a form.
pub(super) async fn take(asked: &Asked, mut body: RequestBody) -> Result<Response, HandlerError> {
    body.set_limit(asked.options.put.max_size.saturating_mul(MOST_FILES));
    let mut parts = parts(&asked.head, &mut body)?;
    let (mut said, mut count, mut taken) = (FileFields::default(), 0, 0_usize);
    let mut left = Vec::new();
    while let Some(mut part) = parts.next().await? {
        count += 1;
        if count > MOST_PARTS {
            return Err(HandlerError::client(StatusCode::PAYLOAD_TOO_LARGE, UploadError::TooMany));
        }
        let disposition = disposition(&part);
        let Some(filename) = disposition.filename else {
            let text = text(&mut parts, &mut part, MOST_OF_PATH).await?;
            match disposition.name.as_deref() {
                Some(b"path") => said.path = Some(text),
                Some(b"replace") => said.replaces = text == "yes",
                _ => {}
            }
            continue;
        };
        let filename = String::from_utf8_lossy(&filename).into_owned();
        let name = said.path.take().unwrap_or_else(|| base_name(&filename).to_owned());
        if name.is_empty() {
            // A field for files in which none was chosen.
            pass_over(&mut parts, &mut part).await?;
            continue;
        }
        match publish(asked, &name, said.replaces, &mut parts, &mut part).await {
            Ok(()) => taken += 1,
            Err(error) if error.status() == StatusCode::PRECONDITION_FAILED => {
                left.push(name);
                pass_over(&mut parts, &mut part).await?;
            }
            Err(error) if error.status() == StatusCode::INTERNAL_SERVER_ERROR => return Err(error),
            Err(error) => {
                let status = error.status();
                let error = UploadError::File { name, why: error.to_string(), taken };
                return Err(HandlerError::client(status, error));
            }
        }
    }
    parts.finish().await?;
    if !left.is_empty() {
        let error = UploadError::Exists(left.join(", "));
        return Err(HandlerError::client(StatusCode::PRECONDITION_FAILED, error));
    }
    match taken {
        0 => Err(HandlerError::client(StatusCode::BAD_REQUEST, UploadError::Nothing)),
        _ if is_for_script(asked) => Ok(Response::text("published")),
        _ => Ok(see_other("./?uploaded")),
    }
}

/// Publishes one file.
async fn publish(
    asked: &Asked,
    name: &str,
    replaces: bool,
    parts: &mut FormParts<'_, RequestBody>,
    part: &mut FormPart,
) -> Result<(), HandlerError> {
    let path: Arc<PagePath> = named(asked.place.join(name))?.into();
    let put = &asked.options.put;
    // Who uploads a folder means all that is in it.
    let options = StoreOptions { create_directories: true, ..put.store.clone() };
    let check = move |current: Option<&Current<'_>>| match current {
        Some(_) if !replaces => Err(StoreError::Changed),
        _ => Ok(()),
    };
    let mut draft = {
        let (of, path, options) = (asked.clone(), Arc::clone(&path), options.clone());
        on_pool(move || of.store.begin(&path, None, holder(of.head.client), &options, &check)).await?
    };
    let mut is_whole = false;
    while !is_whole {
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut gathered = 0;
        while gathered < PIECE {
            let Some(piece) = parts.data(part).await? else {
                is_whole = true;
                break;
            };
            gathered += piece.len();
            pieces.push(piece);
        }
        if draft.len() + gathered as u64 > put.max_size {
            let error = UploadError::TooLong(put.max_size);
            let error = HandlerError::client(StatusCode::PAYLOAD_TOO_LARGE, error);
            return Err(error.by_option(Some("max_size")));
        }
        if gathered > 0 {
            draft = write(&asked.store, draft, pieces).await?;
        }
    }
    let (of, len) = (asked.clone(), draft.len());
    on_pool(move || {
        draft.set_user(of.user());
        of.store.publish(&path, draft, &options, &check).map(drop)
    })
    .await?;
    asked.counts.published.fetch_add(1, Relaxed);
    asked.counts.bytes.fetch_add(len, Relaxed);
    Ok(())
}

/// A file's name without directories, whichever system it comes from.
fn base_name(filename: &str) -> &str {
    filename.rsplit(['/', '\\']).next().unwrap_or_default()
}
