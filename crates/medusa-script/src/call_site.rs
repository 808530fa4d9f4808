//! Where in the script a host function was called, and errors that say so.

use std::borrow::Cow;
use std::sync::Arc;

use mlua::Lua;

use crate::chunk::file_of;
use crate::counted::shown;

/// The place in the script that called the running host function: `site.luau:12`.
pub(crate) fn origin(lua: &Lua) -> Arc<str> {
    for level in 0..16 {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let file = file_of(source.source.as_deref()?.as_bytes())?;
            Some(format!("{}:{}", String::from_utf8_lossy(file), frame.current_line()?))
        });
        match place {
            None => break,
            Some(Some(place)) => return place.into(),
            Some(None) => {}
        }
    }
    "script".into()
}

/// The longest message of an error of a host function. It may quote what the script gave.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// An error of a host function, with the place it was called from.
pub(crate) fn fail(lua: &Lua, message: impl std::fmt::Display) -> mlua::Error {
    let (place, message) = (origin(lua), shown(message, MAX_MESSAGE));
    mlua::Error::runtime(format!("{place}: {}", without_place(&message, &place)))
}

/// A message of a command without this place, where what it tells of begins with that, too: `commit: site.luau:2: why`.
fn without_place<'m>(message: &'m str, place: &str) -> Cow<'m, str> {
    let told = message.split_once(": ");
    let why = told.and_then(|(_, why)| why.strip_prefix(place)?.strip_prefix(": "));
    match (told, why) {
        (Some((command, _)), Some(why)) => Cow::Owned(format!("{command}: {why}")),
        _ => Cow::Borrowed(message),
    }
}

/// Puts the place before an error that has none yet.
pub(crate) fn at_place(place: &str, error: mlua::Error) -> mlua::Error {
    match error {
        mlua::Error::ExternalError(error) => mlua::Error::runtime(format!("{place}: {error}")),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once() {
        let told = |message| without_place(message, "statement-3/1:1").into_owned();
        assert_eq!(told("commit: statement-3/1:1: it is taken"), "commit: it is taken");
        for other in ["commit: statement-3/1:12: no", "commit: site.luau:2: no", "no", "x: statement-3/1:1"] {
            assert_eq!(told(other), other);
        }
    }
}
