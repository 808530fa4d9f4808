//! Names of rotated files: `access.log.2026-11-23`, the second of that day `access.log.2026-11-23.1`,
//! compressed `access.log.2026-11-23.1.zst`, while that is under way `access.log.2026-11-23.1.zst.part`.
//!
//! **Invariant: a name is ours only if we would write it exactly so.** What is deleted is chosen by this alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Tag;

/// Bytes that a file's name may grow by at most.
pub(super) const LONGEST_SUFFIX: usize = ".2026-11-23-14.4294967295.zst.part".len();

const PACKED: &str = ".zst";
const UNFINISHED: &str = ".zst.part";

/// End of a name, behind that of the log. In the order of time, as far as `tag` and `number` go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Suffix {
    pub(super) tag: Tag,
    /// Files rotated before in the same period.
    pub(super) number: u32,
    pub(super) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Plain,
    Packed,
    /// Being compressed, or left over from when that was interrupted.
    Unfinished,
}

impl Suffix {
    /// That of `name`, if it is a file of the log `base`.
    pub(super) fn of(name: &OsStr, base: &OsStr) -> Option<Self> {
        let text = name.as_bytes().strip_prefix(base.as_bytes())?.strip_prefix(b".")?;
        let text = std::str::from_utf8(text).ok()?;
        let (rest, form) = match (text.strip_suffix(PACKED), text.strip_suffix(UNFINISHED)) {
            (Some(rest), _) => (rest, Form::Packed),
            (_, Some(rest)) => (rest, Form::Unfinished),
            _ => (text, Form::Plain),
        };
        let (tag, number) = match rest.split_once('.') {
            Some((tag, number)) => (tag, number.parse().ok().filter(|number| *number > 0)?),
            None => (rest, 0),
        };
        let suffix = Self { tag: Tag::parse(tag)?, number, form };
        (suffix.name(base) == name).then_some(suffix)
    }

    /// The name of the file of the log `base`.
    pub(super) fn name(&self, base: &OsStr) -> OsString {
        let number = if self.number == 0 { String::new() } else { format!(".{}", self.number) };
        let form = match self.form {
            Form::Plain => "",
            Form::Packed => PACKED,
            Form::Unfinished => UNFINISHED,
        };
        let mut name = base.as_bytes().to_vec();
        name.extend_from_slice(format!(".{}{number}{form}", self.tag).as_bytes());
        OsString::from_vec(name)
    }

    /// The same file in another form.
    pub(super) const fn as_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The identity among the rotated files, whatever the form.
    pub(super) const fn identity(&self) -> (Tag, u32) {
        (self.tag, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str) -> Option<Suffix> {
        Suffix::of(name.as_ref(), "access.log".as_ref())
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "access.log.2026-11-23",
            "access.log.2026-11-23.1",
            "access.log.2026-11.12.zst",
            "access.log.2026-11-23-14.zst",
            "access.log.2026-11-23-14.4294967295.zst.part",
        ] {
            let suffix = of(name).unwrap_or_else(|| panic!("{name} is ours"));
            assert_eq!(suffix.name("access.log".as_ref()), name);
            assert!(name.len() <= "access.log".len() + LONGEST_SUFFIX);
        }
    }

    #[test]
    fn what_others_have_put_there_is_not_ours() {
        for name in [
            "access.log",
            "access.log.1",
            "access.log.1.gz",
            "access.log-20261123",
            "access.log-2026-11-23",
            "access.log.2026-11-23.0",
            "access.log.2026-11-23.01",
            "access.log.2026-11-23.bz2",
            "access.log.2026-11-23.zst.zst",
            "access.log.2026-11-23.gz",
            "access.log.2026-11-23.part",
            "access.log.2026-11-23.4294967296",
            "access.log.2026-11-31",
            "access.log.2026-11-23 ",
            "access.log.2026-11-23.zst.bak",
            "error.log.2026-11-23",
            "xaccess.log.2026-11-23",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn they_are_in_the_order_of_time() {
        let names = ["2026-11-22", "2026-11-22.2.zst", "2026-11-22.10", "2026-11-23.zst", "2026-12-01"];
        let suffixes = names.map(|name| of(&format!("access.log.{name}")).expect("ours"));
        assert!(suffixes.is_sorted_by(|a, b| a.identity() < b.identity()));
    }

    proptest! {
        #[test]
        fn nothing_is_ours_by_chance(name in r"access\.log\.[0-9a-z.+-]{0,24}") {
            if let Some(suffix) = of(&name) {
                prop_assert_eq!(suffix.name("access.log".as_ref()), name.as_str());
            }
        }
    }
}
