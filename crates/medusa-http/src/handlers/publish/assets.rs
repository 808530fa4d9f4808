//! Style and scripts of the pages, which are part of the program. Their addresses have a hash of them, so that browsers keep each and ask
//! for no other when the program is another.

use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use medusa_proto::conditional::{ETag, Outcome, Validators};

use super::place::{PagePlace, PageQuery};
use crate::handlers::files::listing::STYLE;
use crate::preconditions;
use crate::request::Head;
use crate::response::Response;
use crate::store::tag;

const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// The style of all pages: that of listings, and what these have beside it.
pub(super) static STYLESHEET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("publish.css", CSS, [STYLE, include_str!("assets/publish.css")].concat()));
/// The script of lists, which uploads.
pub(super) static UPLOADER: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("upload.js", JAVASCRIPT, include_str!("assets/upload.js").to_owned()));
/// The script of the editor.
pub(super) static EDITOR: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("editor.js", JAVASCRIPT, include_str!("assets/editor.js").to_owned()));

/// A file that is part of the program.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    content_type: HeaderValue,
    content: Bytes,
    tag: HeaderValue,
}

impl Asset {
    fn new(name: &'static str, content_type: HeaderValue, content: String) -> Self {
        Self { name, content_type, tag: tag::of_bytes(content.as_bytes()), content: content.into() }
    }

    fn hash(&self) -> &str {
        self.tag.to_str().unwrap_or_default().trim_matches('"')
    }

    /// Its address, as an attribute has it.
    pub(super) fn address(&self, place: &PagePlace) -> String {
        format!("{}?asset={}&amp;v={}", place.way_to(""), self.name, self.hash())
    }
}

/// The answer to a request for the asset of that name.
pub(super) fn answer(head: &Head, name: &str) -> Response {
    let all = [&*STYLESHEET, &*UPLOADER, &*EDITOR];
    let Some(asset) = all.into_iter().find(|asset| asset.name == name) else {
        return Response::page(StatusCode::NOT_FOUND);
    };
    let is_named = PageQuery::of(head).get("v").is_some_and(|hash| hash == asset.hash());
    let validators = Validators { etag: ETag::parse(asset.tag.as_bytes()), last_modified: None };
    let response = match preconditions::evaluate(&head.headers, true, Some(&validators)) {
        Outcome::Proceed => Response::new(asset.content_type.clone(), asset.content.clone()),
        Outcome::NotModified => Response::status(StatusCode::NOT_MODIFIED),
        Outcome::Failed => Response::page(StatusCode::PRECONDITION_FAILED),
    };
    response
        .with(header::ETAG, asset.tag.clone())
        .with(header::X_CONTENT_TYPE_OPTIONS, super::NOSNIFF)
        .with(header::CACHE_CONTROL, if is_named { FOR_EVER } else { super::NO_CACHE })
}
