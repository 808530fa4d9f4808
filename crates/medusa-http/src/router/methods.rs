//! Sets of request methods: which ones a pattern takes, and which ones a path allows.
//!
//! **Invariant:** a set that holds `GET` holds `HEAD` ([RFC 9110 §9.3.2]: HEAD is GET without the content). So "GET
//! serves HEAD" needs no special case anywhere: `GET` *is* `{GET, HEAD}`, and a mount of `HEAD` alone is a strict
//! subset, hence more specific.
//!
//! [RFC 9110 §9.3.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2

use std::fmt;

use http::Method;

/// The methods of RFC 9110 and RFC 5789, in the order `Allow` lists them. The position is the bit in [`Methods`].
const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
const GET: u16 = 1;
const HEAD: u16 = 1 << 1;

/// A set of request methods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Methods {
    any: bool,
    known: u16,
    /// Methods that are not in [`KNOWN`], sorted. Nearly always empty.
    others: Vec<Box<str>>,
}

fn bit(method: &str) -> Option<u16> {
    KNOWN.iter().position(|known| *known == method).map(|index| 1 << index)
}

impl Methods {
    /// The set that holds every method, known or not: a pattern that names none.
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Whether the set holds every method.
    pub fn is_any(&self) -> bool {
        self.any
    }

    /// Whether the set holds no method.
    pub fn is_empty(&self) -> bool {
        !self.any && self.known == 0 && self.others.is_empty()
    }

    /// Whether the set holds `method`.
    pub fn contains(&self, method: &Method) -> bool {
        self.any || self.names(method.as_str())
    }

    /// The methods by name, in a fixed order; none for [`any`](Self::any), which has no list.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let known = KNOWN.iter().enumerate().filter(|(index, _)| self.known & (1 << index) != 0);
        known.map(|(_, name)| *name).chain(self.others.iter().map(AsRef::as_ref))
    }

    pub(super) fn insert(&mut self, method: &str) {
        match bit(method) {
            Some(GET) => self.known |= GET | HEAD,
            Some(bit) => self.known |= bit,
            None => {
                if let Err(place) = self.others.binary_search_by(|other| (**other).cmp(method)) {
                    self.others.insert(place, method.into());
                }
            }
        }
    }

    /// Adds all of `more`.
    pub(super) fn extend(&mut self, more: &Self) {
        self.any |= more.any;
        self.known |= more.known;
        for method in &more.others {
            self.insert(method);
        }
    }

    pub(super) fn intersects(&self, other: &Self) -> bool {
        if self.any || other.any {
            return !self.is_empty() && !other.is_empty();
        }
        self.known & other.known != 0 || self.others.iter().any(|method| other.names(method))
    }

    pub(super) fn is_strict_subset(&self, of: &Self) -> bool {
        self != of && self.is_subset(of)
    }

    /// A method both sets hold, to show to people.
    pub(super) fn common<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        match (self.any, other.any) {
            (true, true) => Some("GET"),
            (true, false) => other.iter().next(),
            (false, _) => self.iter().find(|method| other.any || other.names(method)),
        }
    }

    /// The number of methods: orders sets of which one holds the other.
    pub(super) fn size(&self) -> usize {
        if self.any { usize::MAX } else { self.known.count_ones() as usize + self.others.len() }
    }

    fn is_subset(&self, of: &Self) -> bool {
        let named = !self.any && self.known & !of.known == 0 && self.others.iter().all(|m| of.names(m));
        of.any || named
    }

    fn names(&self, method: &str) -> bool {
        match bit(method) {
            Some(bit) => self.known & bit != 0,
            None => self.others.iter().any(|other| **other == *method),
        }
    }
}

/// As the `Allow` field has it: `GET, HEAD, PUT`. [`Methods::any`] is `*`.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any {
            return f.write_str("*");
        }
        for (index, method) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(method)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(methods: &[&str]) -> Methods {
        let mut set = Methods::default();
        for method in methods {
            set.insert(method);
        }
        set
    }

    #[test]
    fn get_holds_head_but_not_the_reverse() {
        assert!(set(&["GET"]).contains(&Method::HEAD));
        assert!(!set(&["HEAD"]).contains(&Method::GET));
        assert!(set(&["HEAD"]).is_strict_subset(&set(&["GET"])));
        assert_eq!(set(&["GET"]), set(&["HEAD", "GET"]));
    }

    #[test]
    fn any_is_above_every_other_set() {
        let any = Methods::any();
        assert!(any.contains(&Method::from_bytes(b"PROPFIND").unwrap()));
        assert!(set(&["PROPFIND"]).is_strict_subset(&any));
        assert!(!any.is_strict_subset(&set(&["GET"])));
        assert!(!any.is_strict_subset(&Methods::any()));
        assert!(any.intersects(&set(&["GET"])) && !any.intersects(&Methods::default()));
    }

    #[test]
    fn sets_meet_in_known_and_in_other_methods() {
        assert!(set(&["PUT", "LOCK"]).intersects(&set(&["LOCK"])));
        assert!(!set(&["PUT", "LOCK"]).intersects(&set(&["UNLOCK", "POST"])));
        assert_eq!(set(&["PUT", "LOCK"]).common(&set(&["LOCK", "GET"])), Some("LOCK"));
        assert_eq!(set(&["PUT"]).common(&Methods::any()), Some("PUT"));
        assert_eq!(Methods::any().common(&Methods::any()), Some("GET"));
    }

    #[test]
    fn the_list_has_a_fixed_order_and_no_doubles() {
        assert_eq!(
            set(&["UNLOCK", "PUT", "GET", "LOCK", "PUT", "LOCK"]).to_string(),
            "GET, HEAD, PUT, LOCK, UNLOCK"
        );
    }
}
