//! The field `If` ([RFC 4918 §10.4](https://www.rfc-editor.org/rfc/rfc4918#section-10.4)): what a client takes to be so of resources and
//! their locks.

/// The most conditions of one request.
const MOST: usize = 128;

/// The reason why a field is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IfHeaderError {
    #[error("`If` is a list of conditions in brackets, as `(<urn:uuid:...> [\"tag\"])`")]
    Malformed,
    #[error("`If` has more than {MOST} conditions")]
    TooLong,
}

/// The field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IfHeader(Vec<IfList>);

/// Conditions that must all hold of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IfList {
    /// The address of the resource, if it is not the request's.
    resource: Option<String>,
    conditions: Vec<(bool, Condition)>,
}

/// What may hold of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// A lock with this token is on it.
    Token(String),
    /// It has this entity tag.
    Tag(String),
}

impl IfHeader {
    /// Reads the value of the field.
    pub(crate) fn parse(value: &str) -> Result<Self, IfHeaderError> {
        let mut text = Text(value);
        let (mut lists, mut count) = (Vec::new(), 0);
        let (mut resource, mut is_tagged): (Option<String>, bool) = (None, false);
        while !text.skip_blanks().is_empty() {
            if let Some(tag) = text.enclosed('<', '>')? {
                // One without a tag cannot follow one with a tag or go before it, nor can a tag have no list.
                if !lists.is_empty() && !is_tagged || text.skip_blanks().is_empty() {
                    return Err(IfHeaderError::Malformed);
                }
                (resource, is_tagged) = (Some(tag), true);
                if !text.0.starts_with('(') {
                    return Err(IfHeaderError::Malformed);
                }
            }
            let conditions = text.list(&mut count)?;
            lists.push(IfList { resource: resource.clone(), conditions });
        }
        if lists.is_empty() { Err(IfHeaderError::Malformed) } else { Ok(Self(lists)) }
    }

    /// Whether one of the lists holds. `holds` says whether a condition does of a resource; of the request's for `None`.
    pub(crate) fn evaluate<E>(
        &self,
        mut holds: impl FnMut(Option<&str>, &Condition) -> Result<bool, E>,
    ) -> Result<bool, E> {
        for list in &self.0 {
            let mut all = true;
            for (is_negated, condition) in &list.conditions {
                if holds(list.resource.as_deref(), condition)? == *is_negated {
                    all = false;
                    break;
                }
            }
            if all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tokens in it: whoever names one, says that he knows of the lock.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        let conditions = self.0.iter().flat_map(|list| &list.conditions);
        conditions.filter_map(|(_, condition)| match condition {
            Condition::Token(token) => Some(token.as_str()),
            Condition::Tag(_) => None,
        })
    }
}

/// What is left of the value.
struct Text<'t>(&'t str);

impl<'t> Text<'t> {
    fn skip_blanks(&mut self) -> &'t str {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        self.0
    }

    /// What stands between these two, if the first is what comes.
    fn enclosed(&mut self, open: char, close: char) -> Result<Option<String>, IfHeaderError> {
        let Some(rest) = self.skip_blanks().strip_prefix(open) else { return Ok(None) };
        let (inside, rest) = rest.split_once(close).ok_or(IfHeaderError::Malformed)?;
        if inside.is_empty() || inside.contains([' ', '\t', '<', '(']) && open == '<' {
            return Err(IfHeaderError::Malformed);
        }
        self.0 = rest;
        Ok(Some(inside.to_owned()))
    }

    fn list(&mut self, count: &mut usize) -> Result<Vec<(bool, Condition)>, IfHeaderError> {
        self.0 = self.skip_blanks().strip_prefix('(').ok_or(IfHeaderError::Malformed)?;
        let mut conditions = Vec::new();
        loop {
            if let Some(rest) = self.skip_blanks().strip_prefix(')') {
                self.0 = rest;
                return if conditions.is_empty() { Err(IfHeaderError::Malformed) } else { Ok(conditions) };
            }
            let is_negated = match self.0.get(..3) {
                Some(word) if word.eq_ignore_ascii_case("not") => {
                    self.0 = self.0.get(3..).unwrap_or_default();
                    true
                }
                _ => false,
            };
            let condition = match self.enclosed('<', '>')? {
                Some(token) => Condition::Token(token),
                None => self.tag()?,
            };
            *count += 1;
            if *count > MOST {
                return Err(IfHeaderError::TooLong);
            }
            conditions.push((is_negated, condition));
        }
    }

    /// An entity tag in square brackets, in which there may be one, too.
    fn tag(&mut self) -> Result<Condition, IfHeaderError> {
        let rest = self.skip_blanks().strip_prefix('[').ok_or(IfHeaderError::Malformed)?;
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let inside = opaque.strip_prefix('"').and_then(|opaque| opaque.split_once('"'));
        let (_, behind) = inside.ok_or(IfHeaderError::Malformed)?;
        let tag = rest.get(..rest.len() - behind.len()).unwrap_or_default();
        self.0 = behind.strip_prefix(']').ok_or(IfHeaderError::Malformed)?;
        Ok(Condition::Tag(tag.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// What is so: the lock `<a>` is on the request's resource, which has the tag `"1"`, and the lock `<b>` on `/b`.
    fn holds(value: &str) -> bool {
        let parsed = IfHeader::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"));
        let holds = |resource: Option<&str>, condition: &Condition| {
            Ok::<_, Infallible>(match (resource, condition) {
                (None | Some("/a"), Condition::Token(token)) => token == "a",
                (None | Some("/a"), Condition::Tag(tag)) => tag == "\"1\"",
                (Some("/b"), Condition::Token(token)) => token == "b",
                _ => false,
            })
        };
        parsed.evaluate(holds).unwrap_or_else(|never| match never {})
    }

    #[test]
    fn one_list_must_hold_and_all_of_it() {
        for value in [
            "(<a>)",
            "(<a> [\"1\"])",
            "(<x>) (<a>)",
            "(<a>)(<x>)",
            "(Not <DAV:no-lock>)",
            "(not<x> <a>)",
            "(<a>) (Not <DAV:no-lock>)",
            "([\"1\"])",
            "</b> (<b>)",
            "</c> (<b>) </b> (<b>)",
            "</b> (<x>) (<b>)",
            "\t( <a>\t)",
        ] {
            assert!(holds(value), "{value}");
        }
        for value in [
            "(<x>)",
            "(<a> [\"2\"])",
            "(Not <a>)",
            "([W/\"1\"])",
            "(<a> [\"2\"]) (Not <x> [\"2\"])",
            "</b> (<a>)",
            "</c> (<b>)",
            "(<DAV:no-lock>)",
        ] {
            assert!(!holds(value), "{value}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for value in [
            "",
            " ",
            "()",
            "<a>",
            "(<a>",
            "<a> <b> (<c>)",
            "(<a>) </b> (<b>)",
            "(a)",
            "(<>)",
            "([\"1\")",
            "([1])",
            "(<a>) x",
            "(Not)",
            "(<a b>)",
            "(\u{fc}",
        ] {
            assert_eq!(IfHeader::parse(value), Err(IfHeaderError::Malformed), "{value}");
        }
        assert_eq!(IfHeader::parse(&"(<a>)".repeat(MOST + 1)), Err(IfHeaderError::TooLong));
    }

    #[test]
    fn each_token_is_submitted() {
        let parsed = IfHeader::parse("</a> (<a> Not <b>) </b> ([\"<x>)\"] <c>)").unwrap();
        assert_eq!(parsed.tokens().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
