//! PROPPATCH: what clients say of files ([RFC 4918 §9.2](https://www.rfc-editor.org/rfc/rfc4918#section-9.2)). All of it, or nothing.
//!
//! What Windows says of its files (`Win32CreationTime` and the like, in `urn:schemas-microsoft-com:`) is kept as anything else is: it
//! gives a file up that it cannot say these of.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use medusa_http::Response;
use medusa_http::store::{StoreError, on_pool};

use crate::answer::{self, Answer, element};
use crate::asking::{Asking, Reach};
use crate::elements::{PropertyChange, property_changes};
use crate::error::DavError;
use crate::properties::PropertyError;
use crate::propfind::{is_protected, propstat, write_empty};
use crate::xml::XmlError;

/// Changes properties.
pub(crate) async fn proppatch(asking: Arc<Asking>, document: Bytes) -> Result<Response, DavError> {
    let changes = property_changes(&document);
    Ok(on_pool(move || change(&asking, changes)).await??.into())
}

fn change(asking: &Asking, changes: Result<Vec<PropertyChange>, XmlError>) -> Result<Answer, DavError> {
    asking.conditions()?;
    let entry = asking.find()?.ok_or(StoreError::Missing)?;
    asking.preconditions(Some(&entry))?;
    let _changing = asking.free(&asking.path, Reach { above: false, below: false })?;
    let changes = changes?;
    let protected = |change: &PropertyChange| is_protected(&change.name);
    let has_protected = changes.iter().any(protected);
    let is_full = !has_protected
        && match asking.place.properties.change(asking.path.path(), &changes) {
            Ok(()) => false,
            Err(PropertyError::Full) => true,
            Err(error) => return Err(error.into()),
        };
    // What could be done on its own is told that it depends on the rest (424).
    let status = |change: &PropertyChange| match (has_protected, is_full) {
        (true, _) if protected(change) => StatusCode::FORBIDDEN,
        (false, true) if change.value.is_some() => StatusCode::INSUFFICIENT_STORAGE,
        (false, false) => StatusCode::OK,
        _ => StatusCode::FAILED_DEPENDENCY,
    };
    let mut by_status: BTreeMap<StatusCode, String> = BTreeMap::new();
    let mut named = Vec::new();
    for change in &changes {
        if !named.contains(&&change.name) {
            named.push(&change.name);
            write_empty(by_status.entry(status(change)).or_default(), &change.name);
        }
    }
    let mut out = "<D:response>".to_owned();
    element(&mut out, "href", &asking.mount.href(&asking.path.as_directory(entry.is_directory())));
    for (&status, names) in &by_status {
        let error = match status {
            StatusCode::FORBIDDEN => "<D:error><D:cannot-modify-protected-property/></D:error>",
            _ => "",
        };
        propstat(&mut out, names, status, error);
    }
    out.push_str("</D:response>\n");
    Ok(answer::multistatus(&out))
}
