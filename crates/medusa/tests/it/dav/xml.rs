//! The XML that a server answers, read strictly: what is not well-formed, or names a prefix that nothing declares, is a panic.

use std::collections::HashMap;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Its namespace and its local name, one after the other: `DAV:href`.
    pub(super) name: String,
    /// Names as of elements, but for those without a prefix, which are in no namespace.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// The text directly in it, without what is only there for the looks.
    pub(super) text: String,
}

impl Element {
    /// Reads a document.
    #[track_caller]
    pub(super) fn parse(document: &str) -> Self {
        Reader { rest: document.strip_prefix('\u{feff}').unwrap_or(document) }
            .document()
            .unwrap_or_else(|what| panic!("{what}: {}", document.chars().take(2000).collect::<String>()))
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&Self> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    /// The element that is reached by these names.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }
}

/// Namespaces that no prefix may be bound to but their own, and that are no default.
const RESERVED: [&str; 2] = ["http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"];

type Scope = HashMap<String, String>;

struct Reader<'d> {
    rest: &'d str,
}

impl<'d> Reader<'d> {
    fn document(mut self) -> Result<Element, String> {
        if self.rest.starts_with("<?xml") {
            self.until("?>")?;
        }
        self.rest = self.rest.trim_start();
        let scope = Scope::from([("xml".to_owned(), RESERVED[0].to_owned())]);
        let root = self.element(&scope, 0)?;
        if self.rest.trim().is_empty() {
            Ok(root)
        } else {
            Err(format!("behind the root is {:?}", self.rest))
        }
    }

    /// What comes before `end`, which is passed over.
    fn until(&mut self, end: &str) -> Result<&'d str, String> {
        let (before, behind) = self.rest.split_once(end).ok_or_else(|| format!("no {end:?} follows"))?;
        self.rest = behind;
        Ok(before)
    }

    fn element(&mut self, outer: &Scope, depth: usize) -> Result<Element, String> {
        if depth > 100 {
            return Err("too deep".to_owned());
        }
        self.rest = self.rest.strip_prefix('<').ok_or("an element is expected")?;
        let name = self.name()?;
        let mut written: Vec<(&str, String)> = Vec::new();
        let is_empty = loop {
            let trimmed = self.rest.trim_start();
            let spaced = trimmed.len() < self.rest.len();
            self.rest = trimmed;
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                break true;
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                break false;
            }
            if !spaced {
                return Err("an attribute must stand apart".to_owned());
            }
            let attribute = self.name()?;
            self.rest =
                self.rest.trim_start().strip_prefix('=').ok_or("an attribute has a value")?.trim_start();
            let quote =
                self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("a value is quoted")?;
            self.rest = &self.rest[1..];
            let value = self.until(if quote == '"' { "\"" } else { "'" })?;
            if value.contains('<') || written.iter().any(|(known, _)| *known == attribute) {
                return Err(format!("the attribute {attribute} cannot be"));
            }
            written.push((attribute, unescaped(value)?));
        };
        let mut scope = outer.clone();
        for (attribute, value) in &written {
            let prefix = if *attribute == "xmlns" { Some("") } else { attribute.strip_prefix("xmlns:") };
            if let Some(prefix) = prefix {
                if value.is_empty() && !prefix.is_empty() {
                    return Err(format!("the prefix {prefix} is bound to nothing"));
                }
                if RESERVED.contains(&value.as_str()) {
                    return Err(format!("{value} is no namespace to declare"));
                }
                scope.insert(prefix.to_owned(), value.clone());
            }
        }
        let mut attributes = Vec::new();
        for (attribute, value) in written {
            if attribute.contains(':') && !attribute.starts_with("xmlns:") {
                attributes.push((resolved(attribute, &scope)?, value));
            } else if attribute != "xmlns" && !attribute.contains(':') {
                attributes.push((attribute.to_owned(), value));
            }
        }
        let mut known: Vec<_> = attributes.iter().map(|(name, _)| name).collect();
        known.sort_unstable();
        if known.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two attributes have one name".to_owned());
        }
        let mut element =
            Element { name: resolved(name, &scope)?, attributes, children: Vec::new(), text: String::new() };
        if is_empty {
            return Ok(element);
        }
        loop {
            let (text, _) = self.rest.split_once('<').ok_or("it ends within an element")?;
            element.text += &unescaped(text)?;
            self.rest = &self.rest[text.len()..];
            if let Some(rest) = self.rest.strip_prefix("</") {
                self.rest = rest;
                if self.until(">")?.trim_end() != name {
                    return Err(format!("{name} does not end as it began"));
                }
                break;
            }
            if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                self.rest = rest;
                element.text += self.until("]]>")?;
            } else {
                element.children.push(self.element(&scope, depth + 1)?);
            }
        }
        if !element.children.is_empty() && element.text.trim().is_empty() {
            element.text.clear();
        }
        Ok(element)
    }

    fn name(&mut self) -> Result<&'d str, String> {
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '\u{b7}');
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let begins = name.split(':').all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        if begins && name.split(':').count() <= 2 { Ok(name) } else { Err(format!("{name:?} is no name")) }
    }
}

fn resolved(name: &str, scope: &Scope) -> Result<String, String> {
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    match scope.get(prefix) {
        Some(namespace) => Ok(format!("{namespace}{local}")),
        None if prefix.is_empty() => Ok(local.to_owned()),
        None => Err(format!("nothing declares the prefix {prefix}")),
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let is_bad =
        |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    if text.contains(is_bad) || text.contains("]]>") {
        return Err(format!("{text:?} cannot stand in XML"));
    }
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or_else(|| format!("a lone & in {text:?}"))?;
        let number = match entity.strip_prefix("#x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => entity.strip_prefix('#').and_then(|digits| digits.parse().ok()),
        };
        plain.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => number.and_then(char::from_u32).ok_or_else(|| format!("no entity &{entity};"))?,
        });
        plain += rest;
    }
    Ok(plain)
}

#[test]
fn what_is_not_well_formed_is_no_document() {
    let read = Element::parse(
        "<?xml version=\"1.0\"?>\n<D:a xmlns:D='DAV:' D:x='1' y='&lt;'><b>t&#65;</b>\n<c xmlns='n:'/></D:a>\n",
    );
    assert_eq!((read.name.as_str(), read.text.as_str()), ("DAV:a", ""));
    assert_eq!(read.attributes, [("DAV:x".to_owned(), "1".to_owned()), ("y".to_owned(), "<".to_owned())]);
    assert_eq!((read.child("b").map(|b| b.text.as_str()), read.child("n:c").is_some()), (Some("tA"), true));
    for bad in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b='1' b='2'/>",
        "<a b='1'c='2'/>",
        "<x:a/>",
        "<a>&nbsp;</a>",
        "<a>&</a>",
        "<a>\u{1}</a>",
        "<1/>",
        "<a xmlns:b=''/>",
        "<a xmlns:b='n:' xmlns:c='n:' b:d='1' c:d='2'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<\u{2190}/>",
        "<a b='<'/>",
    ] {
        assert!(Reader { rest: bad }.document().is_err(), "{bad}");
    }
}
