//! What an author whose rights are limited may change, and what of that which is under way they may end.
//!
//! **Invariant:** it is what is about to be published that is looked at, whatever way it came about: a statement, a load of the
//! script, a rollback. What is under way is looked at where it is ended.

use std::sync::Arc;

use medusa_http::{Head, Mount};
use medusa_proto::author::{Author, Scope};

use crate::part::{Part, Parts, downcast};
use crate::parts::HttpServer;
use crate::site::Site;

/// Whether an author may make `new` of `old`; unless it `is_same_script` that has made both, all functions and globals are others.
///
/// # Errors
///
/// It may not: with the first of the differences that it has no right to.
pub(crate) fn check(
    author: &Author,
    is_same_script: bool,
    old: &Parts,
    new: &Parts,
) -> Result<(), OutOfScope> {
    let Some(scope) = &author.scope else { return Ok(()) };
    let script = (!is_same_script).then(|| "the script".to_owned());
    match script.or_else(|| outside(scope, old, new)) {
        Some(what) => Err(OutOfScope { what, scope: Arc::clone(scope) }),
        None => Ok(()),
    }
}

/// Somebody would change what they may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not yours to change: your rights end at {scope}")]
pub struct OutOfScope {
    /// The first of what would be changed.
    pub what: String,
    /// All that may be.
    pub scope: Arc<Scope>,
}

/// Whether what is under way on a mount is an author's to end.
pub(crate) fn covers(author: &Author, server: &str, pattern: &str) -> bool {
    author.scope.as_ref().is_none_or(|scope| scope.has_server(server) || scope.has_mount(pattern))
}

/// Whether an author may end what runs: for a request, by the mount that gets such a one now. What runs for none is nobody's who is
/// limited.
///
/// # Errors
///
/// It is not theirs, `what` it is called.
pub fn check_run(author: &Author, site: &Site, request: Option<&Head>, what: &str) -> Result<(), OutOfScope> {
    let Some(scope) = &author.scope else { return Ok(()) };
    let is_own = request.is_some_and(|head| {
        let server = head.listener.and_then(|listener| site.part_on(listener)).map(|(part, _)| part);
        let Some(server) = server.as_ref().and_then(downcast::<HttpServer>) else { return false };
        let (_, mounts) = server.explain(&head.method, head.host(), head.path());
        let is_own = |mount: &Arc<Mount>| covers(author, &server.id().name, &mount.pattern.to_string());
        mounts.first().is_some_and(is_own)
    });
    if is_own { Ok(()) } else { Err(OutOfScope { what: what.to_owned(), scope: Arc::clone(scope) }) }
}

fn outside(scope: &Scope, old: &Parts, new: &Parts) -> Option<String> {
    let changed = new.iter().filter(|part| !old.has(part)).map(|part| (part, old.get(part.id())));
    let gone = old.iter().filter(|part| new.get(part.id()).is_none()).map(|part| (part, None));
    changed.chain(gone).find_map(|(part, before)| beyond(scope, part, before))
}

/// What of one part is not allowed to differ.
fn beyond(scope: &Scope, part: &Arc<dyn Part>, before: Option<&Arc<dyn Part>>) -> Option<String> {
    let id = part.id();
    let is_server = *id == HttpServer::id_of(&id.name);
    if is_server && scope.has_server(&id.name) {
        return None;
    }
    match before {
        Some(before) if is_server => {
            let differences = part.differences(before);
            differences.into_iter().map(|difference| difference.what).find(|what| !scope.has_mount(what))
        }
        _ => Some(part.label()),
    }
}
