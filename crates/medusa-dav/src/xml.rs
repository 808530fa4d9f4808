//! XML from clients: a small tree, bounded in every direction, and what is kept of it as text.
//!
//! There are no document types here, so no entities but those of XML itself, and nothing is ever fetched.

use std::borrow::Cow;
use std::fmt::Write as _;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};
use quick_xml::reader::NsReader;

/// The most bytes of a document.
pub(crate) const MOST_BYTES: usize = 256 * 1024;
/// The most elements: each has a name of its own and room in memory.
const MOST_ELEMENTS: usize = 2048;
/// The most attributes of one, namespaces among them: each is compared with all before it.
const MOST_ATTRIBUTES: usize = 64;
/// How deep they may be.
const MOST_DEPTH: usize = 32;
/// The longest name, and the longest namespace: they are written wherever they are meant.
const MOST_NAME: usize = 256;

/// The namespace of WebDAV.
pub(crate) const DAV: &str = "DAV:";
/// The namespace of `xml:lang`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of declarations of namespaces.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The reason why a document is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("the body is neither UTF-8 nor UTF-16")]
    Encoding,
    #[error("the body is not well-formed XML: {0}")]
    Malformed(String),
    #[error("the body has a document type, which is not read")]
    DocumentType,
    #[error("the body has an entity `&{0};`, which is none of XML's own")]
    Entity(String),
    #[error("the body has more than {0}")]
    TooMuch(&'static str),
    #[error("the body is not what this method takes: {0}")]
    Unexpected(&'static str),
}

/// The name of an element or a property.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct XmlName {
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) local: String,
}

impl XmlName {
    /// Whether it is this one of WebDAV's.
    pub(crate) fn is_dav(&self, local: &str) -> bool {
        self.namespace == DAV && self.local == local
    }
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: XmlName,
    attributes: Vec<(XmlName, String)>,
    children: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// The elements in it.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element of WebDAV's in it that has this name.
    pub(crate) fn dav(&self, local: &str) -> Option<&Self> {
        self.elements().find(|element| element.name.is_dav(local))
    }

    /// Its language, if it says one.
    pub(crate) fn language(&self) -> Option<&str> {
        let is_language = |name: &XmlName| name.namespace == XML && name.local == "lang";
        self.attributes.iter().find(|(name, _)| is_language(name)).map(|(_, value)| value.as_str())
    }

    /// Writes it so that it means the same wherever there is no default namespace, in `language` if it does not say another.
    pub(crate) fn write(&self, out: &mut String, language: Option<&str>) {
        self.write_within(out, "", language.filter(|_| self.language().is_none()));
    }

    /// Writes what is in it, likewise.
    pub(crate) fn write_content(&self, out: &mut String) {
        for child in &self.children {
            match child {
                Node::Element(element) => element.write_within(out, "", None),
                Node::Text(text) => escape(out, text),
            }
        }
    }

    fn write_within(&self, out: &mut String, default: &str, language: Option<&str>) {
        let XmlName { namespace, local } = &self.name;
        out.push('<');
        out.push_str(local);
        if namespace != default {
            attribute(out, "xmlns", namespace);
        }
        if let Some(language) = language {
            attribute(out, "xml:lang", language);
        }
        for (at, (name, value)) in self.attributes.iter().enumerate() {
            match name.namespace.as_str() {
                "" => attribute(out, &name.local, value),
                XML => attribute(out, &format!("xml:{}", name.local), value),
                other => {
                    attribute(out, &format!("xmlns:a{at}"), other);
                    attribute(out, &format!("a{at}:{}", name.local), value);
                }
            }
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Node::Element(element) => element.write_within(out, namespace, None),
                Node::Text(text) => escape(out, text),
            }
        }
        let _written = write!(out, "</{local}>");
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    let _written = write!(out, " {name}=\"");
    // Blanks of an attribute are read as spaces, unless they are written so.
    for (at, line) in value.split('\n').enumerate() {
        if at > 0 {
            out.push_str("&#10;");
        }
        for (at, part) in line.split('\t').enumerate() {
            if at > 0 {
                out.push_str("&#9;");
            }
            escape(out, part);
        }
    }
    out.push('"');
}

/// Writes text, in an element or in an attribute in double quotes.
pub(crate) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            c if is_char(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

/// Whether it may be in a document at all ([XML 1.0 §2.2](https://www.w3.org/TR/xml/#charsets)).
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Reads a document.
pub(crate) fn parse(body: &[u8]) -> Result<Element, XmlError> {
    let text = decode(body)?;
    let mut reader = NsReader::from_str(&text);
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(malformed)? {
            Event::Start(start) => {
                let element = tree.element(&reader, &start)?;
                tree.open(element)?;
            }
            Event::Empty(start) => {
                let element = tree.element(&reader, &start)?;
                tree.open(element)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let c = match name.resolve_char_ref().map_err(malformed)? {
                    Some(c) if is_char(c) => c,
                    Some(_) => return Err(malformed("a character that no document may have")),
                    None => predefined(&name).ok_or_else(|| XmlError::Entity(short(&name)))?,
                };
                tree.text(c.encode_utf8(&mut [0; 4]))?;
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Eof => return tree.finish(),
        }
    }
}

/// The tree that is read.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn element(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Element, XmlError> {
        self.elements += 1;
        if self.elements > MOST_ELEMENTS {
            return Err(XmlError::TooMuch("2048 elements"));
        }
        let resolver = reader.resolver();
        let (resolved, _) = resolver.resolve_element(start.name());
        let name = name(resolved, start.name())?;
        if matches!(name.namespace.as_str(), XML | XMLNS) {
            return Err(malformed("an element of a namespace that has none"));
        }
        let mut attributes: Vec<(XmlName, String)> = Vec::new();
        for (count, found) in start.attributes().enumerate() {
            let found = found.map_err(malformed)?;
            if count >= MOST_ATTRIBUTES {
                return Err(XmlError::TooMuch("64 attributes of an element"));
            }
            let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(malformed)?;
            if !value.chars().all(is_char) {
                return Err(malformed("a character that no document may have"));
            }
            if found.key.as_namespace_binding().is_some() {
                let unbinds = value.is_empty() && found.key.prefix().is_some();
                if unbinds {
                    return Err(malformed("a prefix without a namespace"));
                }
                continue;
            }
            let (resolved, _) = resolver.resolve_attribute(found.key);
            let name = self::name(resolved, found.key)?;
            if attributes.iter().any(|(other, _)| *other == name) {
                return Err(malformed(format!("the attribute `{}` is there twice", name.local)));
            }
            attributes.push((name, value.into_owned()));
        }
        Ok(Element { name, attributes, children: Vec::new() })
    }

    fn open(&mut self, element: Element) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(malformed("more than one root"));
        }
        if self.open.len() >= MOST_DEPTH {
            return Err(XmlError::TooMuch("32 levels"));
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        let element = self.open.pop().ok_or_else(|| malformed("an end without a beginning"))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        let is_blank = text.bytes().all(|byte| byte.is_ascii_whitespace());
        match self.open.last_mut() {
            Some(parent) => match parent.children.last_mut() {
                Some(Node::Text(before)) => before.push_str(text),
                _ => parent.children.push(Node::Text(text.to_owned())),
            },
            None if is_blank => {}
            None => return Err(malformed("text outside of the root")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        if !self.open.is_empty() {
            return Err(malformed("it ends within an element"));
        }
        self.root.ok_or_else(|| malformed("there is no element"))
    }
}

fn name(resolved: ResolveResult<'_>, name: QName<'_>) -> Result<XmlName, XmlError> {
    let local = name.local_name().into_inner();
    let namespace = match resolved {
        ResolveResult::Unbound => Cow::Borrowed(""),
        ResolveResult::Bound(namespace) => {
            quick_xml::escape::unescape(namespace.into_inner()).map_err(malformed)?.into_owned().into()
        }
        ResolveResult::Unknown(prefix) => {
            return Err(malformed(format!("the prefix `{}` has no namespace", short(&prefix))));
        }
    };
    if !is_name(local) {
        return Err(malformed(format!("`{}` is no name", short(local))));
    }
    if local.len() > MOST_NAME || namespace.len() > MOST_NAME {
        return Err(XmlError::TooMuch("256 bytes in a name or a namespace"));
    }
    if !namespace.chars().all(is_char) {
        return Err(malformed("a character that no document may have"));
    }
    Ok(XmlName { namespace: namespace.into_owned(), local: local.to_owned() })
}

/// Whether it is a name without a colon ([XML 1.0 §2.3](https://www.w3.org/TR/xml/#NT-Name)).
fn is_name(name: &str) -> bool {
    let begins = |c: char| {
        matches!(c, 'A'..='Z' | 'a'..='z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
            | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
            | '\u{10000}'..='\u{effff}')
    };
    let goes_on = |c: char| {
        begins(c)
            || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
    };
    name.starts_with(begins) && name.chars().all(goes_on)
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

/// The document as text. Clients may send UTF-8 and UTF-16 ([RFC 4918 §19](https://www.rfc-editor.org/rfc/rfc4918#section-19)).
fn decode(body: &[u8]) -> Result<String, XmlError> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<_> = units.iter().map(|&bytes| unit(bytes)).collect();
        if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
    };
    let text = match body {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        all => String::from_utf8(all.to_vec()).ok(),
    };
    let text = text.ok_or(XmlError::Encoding)?;
    if text.chars().all(is_char) { Ok(text) } else { Err(malformed("a character that no document may have")) }
}

fn malformed(error: impl ToString) -> XmlError {
    XmlError::Malformed(error.to_string())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(document: &str) -> String {
        let mut out = String::new();
        parse(document.as_bytes())
            .unwrap_or_else(|error| panic!("{document}: {error}"))
            .write(&mut out, None);
        out
    }

    #[test]
    fn what_is_written_means_what_was_read() {
        for (document, expected) in [
            ("<a/>", "<a/>"),
            ("<a xmlns='n'/>", "<a xmlns=\"n\"/>"),
            ("<p:a xmlns:p='n'><b/></p:a>", "<a xmlns=\"n\"><b xmlns=\"\"/></a>"),
            ("<a xmlns='n'><b>x<c/></b>y</a>", "<a xmlns=\"n\"><b>x<c/></b>y</a>"),
            (
                "<a q='1' xml:lang='de' p:q='2' xmlns:p='n'/>",
                "<a q=\"1\" xml:lang=\"de\" xmlns:a2=\"n\" a2:q=\"2\"/>",
            ),
            (
                "<?xml version='1.0'?><!-- x --><a>&lt;&#x41;&amp;<![CDATA[<b>]]></a>\n",
                "<a>&lt;A&amp;&lt;b&gt;</a>",
            ),
            ("<a b='&quot;&lt;'/>", "<a b=\"&quot;&lt;\"/>"),
            ("<a b='&#10;&#9;\n'/>", "<a b=\"&#10;&#9; \"/>"),
            ("<a xmlns='n&amp;m'/>", "<a xmlns=\"n&amp;m\"/>"),
            ("<a>\u{1f600}</a>", "<a>\u{1f600}</a>"),
        ] {
            assert_eq!(written(document), expected);
            assert_eq!(written(expected), expected, "once more");
        }
    }

    #[test]
    fn a_language_is_kept() {
        let mut out = String::new();
        parse(b"<a/>").unwrap().write(&mut out, Some("de"));
        parse(b"<a xml:lang='fr'/>").unwrap().write(&mut out, Some("de"));
        assert_eq!(out, "<a xml:lang=\"de\"/><a xml:lang=\"fr\"/>");
    }

    #[test]
    fn utf_16_is_read() {
        let units: Vec<u16> = "<a>\u{e9}</a>".encode_utf16().collect();
        let with = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            let body: Vec<u8> = mark.into_iter().chain(units.iter().copied().flat_map(bytes)).collect();
            parse(&body).map(|element| element.children)
        };
        let expected = Ok(vec![Node::Text("\u{e9}".to_owned())]);
        assert_eq!(with([0xfe, 0xff], u16::to_be_bytes), expected);
        assert_eq!(with([0xff, 0xfe], u16::to_le_bytes), expected);
        assert_eq!(parse(b"\xff\xfe<"), Err(XmlError::Encoding));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "<a b='1' b='2'/>",
            "<p:a/>",
            "<a p:b='1'/>",
            "<a xmlns:p=''/>",
            "<a>&#1;</a>",
            "<a>\u{1}</a>",
            "<a b='&#1;'/>",
            "<a\"b/>",
            "<1/>",
            "<\u{2190}/>",
            "<a\u{d7}/>",
            "<a xmlns:p='n' xmlns:q='n' p:b='1' q:b='2'/>",
            "<xml:a/>",
            "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
            "<a:/>",
        ] {
            assert!(matches!(parse(document.as_bytes()), Err(XmlError::Malformed(_))), "{document}");
        }
        assert_eq!(parse(b"<a>\xff</a>"), Err(XmlError::Encoding));
        assert_eq!(parse(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Err(XmlError::DocumentType));
        assert_eq!(parse(b"<a>&b;</a>"), Err(XmlError::Entity("b".to_owned())));
    }

    #[test]
    fn everything_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(nested(MOST_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(MOST_DEPTH + 1).as_bytes()), Err(XmlError::TooMuch("32 levels")));
        let many = format!("<a>{}</a>", "<b/>".repeat(MOST_ELEMENTS));
        assert_eq!(parse(many.as_bytes()), Err(XmlError::TooMuch("2048 elements")));
        let wide: String = (0..=MOST_ATTRIBUTES).map(|n| format!(" a{n}=''")).collect::<Vec<_>>().concat();
        assert_eq!(
            parse(format!("<a{wide}/>").as_bytes()),
            Err(XmlError::TooMuch("64 attributes of an element"))
        );
        let long = "n".repeat(MOST_NAME + 1);
        for document in [format!("<{long}/>"), format!("<a xmlns='{long}'/>")] {
            assert!(matches!(parse(document.as_bytes()), Err(XmlError::TooMuch(_))));
        }
    }
}
