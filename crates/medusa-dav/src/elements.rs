//! What the documents of the methods mean
//! ([RFC 4918 §14](https://www.rfc-editor.org/rfc/rfc4918#section-14)). What is not known in them is passed over (§17).

use crate::xml::{self, Element, XmlError, XmlName};

/// The most properties that one request may name.
const MOST_PROPERTIES: usize = 256;
/// The longest owner of a lock, in bytes, as it is kept.
const MOST_OWNER: usize = 4096;

/// The properties that are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that there are, and these.
    All(Vec<XmlName>),
    /// Which there are.
    Names,
    /// These.
    These(Vec<XmlName>),
}

impl Wanted {
    /// Reads the body of a PROPFIND. None asks for all.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, XmlError> {
        if body.is_empty() {
            return Ok(Self::All(Vec::new()));
        }
        let root = root(body, "propfind", "it is no DAV:propfind")?;
        let names = |element: Option<&Element>| -> Result<Vec<XmlName>, XmlError> {
            let mut names = Vec::new();
            for one in element.into_iter().flat_map(Element::elements) {
                // Once is enough, and each may be long.
                if !names.contains(&one.name) {
                    names.push(one.name.clone());
                }
                if names.len() > MOST_PROPERTIES {
                    return Err(XmlError::TooMuch("256 properties"));
                }
            }
            Ok(names)
        };
        match (root.dav("allprop"), root.dav("propname"), root.dav("prop")) {
            (Some(_), None, None) => Ok(Self::All(names(root.dav("include"))?)),
            (None, Some(_), None) => Ok(Self::Names),
            (None, None, Some(these)) => Ok(Self::These(names(Some(these))?)),
            _ => Err(XmlError::Unexpected("DAV:propfind has one of allprop, propname and prop")),
        }
    }
}

/// A change of one property.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PropertyChange {
    pub(crate) name: XmlName,
    /// The whole element that is its value; none removes it.
    pub(crate) value: Option<String>,
}

/// Reads the body of a PROPPATCH: changes in their order.
pub(crate) fn property_changes(body: &[u8]) -> Result<Vec<PropertyChange>, XmlError> {
    let root = root(body, "propertyupdate", "it is no DAV:propertyupdate")?;
    let mut changes = Vec::new();
    for part in root.elements() {
        let sets = part.name.is_dav("set");
        if !sets && !part.name.is_dav("remove") {
            continue;
        }
        for properties in part.elements().filter(|element| element.name.is_dav("prop")) {
            let language = properties.language().or(part.language()).or(root.language());
            for property in properties.elements() {
                if changes.len() >= MOST_PROPERTIES {
                    return Err(XmlError::TooMuch("256 properties"));
                }
                let value = sets.then(|| {
                    let mut value = String::new();
                    property.write(&mut value, language);
                    value
                });
                changes.push(PropertyChange { name: property.name.clone(), value });
            }
        }
    }
    if changes.is_empty() { Err(XmlError::Unexpected("it changes no property")) } else { Ok(changes) }
}

/// The lock that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LockInfo {
    pub(crate) is_exclusive: bool,
    /// What the client says of whose it is, as XML.
    pub(crate) owner: String,
}

impl LockInfo {
    /// Reads the body of a LOCK.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = root(body, "lockinfo", "it is no DAV:lockinfo")?;
        if root.dav("locktype").and_then(|kind| kind.dav("write")).is_none() {
            return Err(XmlError::Unexpected("the only DAV:locktype is DAV:write"));
        }
        let scope = root.dav("lockscope");
        let is_exclusive = scope.is_some_and(|scope| scope.dav("exclusive").is_some());
        if is_exclusive == scope.is_some_and(|scope| scope.dav("shared").is_some()) {
            return Err(XmlError::Unexpected("DAV:lockscope is DAV:exclusive or DAV:shared"));
        }
        let mut owner = String::new();
        if let Some(element) = root.dav("owner") {
            element.write_content(&mut owner);
        }
        if owner.len() > MOST_OWNER {
            return Err(XmlError::TooMuch("4096 bytes in DAV:owner"));
        }
        Ok(Self { is_exclusive, owner })
    }
}

fn root(body: &[u8], local: &str, otherwise: &'static str) -> Result<Element, XmlError> {
    let root = xml::parse(body)?;
    if root.name.is_dav(local) { Ok(root) } else { Err(XmlError::Unexpected(otherwise)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, local: &str) -> XmlName {
        XmlName { namespace: namespace.to_owned(), local: local.to_owned() }
    }

    #[test]
    fn properties_are_asked_for() {
        let parse =
            |inside: &str| Wanted::parse(format!("<propfind xmlns='DAV:'>{inside}</propfind>").as_bytes());
        assert_eq!(Wanted::parse(b""), Ok(Wanted::All(Vec::new())));
        assert_eq!(parse("<allprop/>"), Ok(Wanted::All(Vec::new())));
        assert_eq!(
            parse("<allprop/><include><a xmlns='n'/></include>"),
            Ok(Wanted::All(vec![name("n", "a")]))
        );
        assert_eq!(parse("<propname/><x:new xmlns:x='y'/>"), Ok(Wanted::Names));
        let these = vec![name("DAV:", "getetag"), name("", "b")];
        assert_eq!(parse("<prop> <getetag/>\n<b xmlns=''/></prop>"), Ok(Wanted::These(these)));
        for inside in ["", "<allprop/><prop/>", "<new/>"] {
            assert!(matches!(parse(inside), Err(XmlError::Unexpected(_))), "{inside}");
        }
        assert!(matches!(Wanted::parse(b"<propfind/>"), Err(XmlError::Unexpected(_))), "not of WebDAV");
        assert_eq!(parse("<prop><a/><a/></prop>"), Ok(Wanted::These(vec![name("DAV:", "a")])));
        let many: String = (0..=MOST_PROPERTIES).map(|n| format!("<a{n}/>")).collect::<Vec<_>>().concat();
        let many = format!("<prop>{many}</prop>");
        assert_eq!(parse(&many), Err(XmlError::TooMuch("256 properties")));
    }

    #[test]
    fn properties_are_changed_in_order() {
        let body = "<propertyupdate xmlns='DAV:' xml:lang='de'><set><prop><a xmlns='n'>1</a></prop></set><other/>\
                    <remove><prop><a xmlns='n'/></prop></remove><set><prop><b xmlns=''>2</b></prop></set></propertyupdate>";
        let changes = property_changes(body.as_bytes()).unwrap();
        let changes: Vec<_> =
            changes.iter().map(|change| (change.name.local.as_str(), change.value.as_deref())).collect();
        let expected = [
            ("a", Some("<a xmlns=\"n\" xml:lang=\"de\">1</a>")),
            ("a", None),
            ("b", Some("<b xml:lang=\"de\">2</b>")),
        ];
        assert_eq!(changes, expected);
        assert!(property_changes(b"<propertyupdate xmlns='DAV:'/>").is_err());
    }

    #[test]
    fn a_lock_is_asked_for() {
        let parse = |inside: &str| {
            LockInfo::parse(format!("<D:lockinfo xmlns:D='DAV:'>{inside}</D:lockinfo>").as_bytes())
        };
        let write = "<D:locktype><D:write/></D:locktype>";
        let lock = parse(&format!(
            "<D:lockscope><D:shared/></D:lockscope>{write}<D:owner><D:href>x</D:href></D:owner>"
        ));
        assert_eq!(
            lock,
            Ok(LockInfo { is_exclusive: false, owner: "<href xmlns=\"DAV:\">x</href>".to_owned() })
        );
        let lock =
            parse(&format!("<D:lockscope><D:exclusive/></D:lockscope>{write}<D:owner>a&amp;b</D:owner>"));
        assert_eq!(lock, Ok(LockInfo { is_exclusive: true, owner: "a&amp;b".to_owned() }));
        for inside in [
            write.to_owned(),
            format!("<D:lockscope/>{write}"),
            "<D:lockscope><D:shared/></D:lockscope>".to_owned(),
        ] {
            assert!(matches!(parse(&inside), Err(XmlError::Unexpected(_))), "{inside}");
        }
    }
}
