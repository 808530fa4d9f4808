//! Parameters of a field of a form: `; name=value; name="value"`, as clients write them and not only as they should.
//!
//! **Invariant:** what names a file is found, however it is written: a part that has a file name must never be taken for text.

use std::borrow::Cow;

use medusa_proto::query;

use super::charset::Charset;

/// The parameters of a field's value, which stand behind its first `;`. Names are case-insensitive (RFC 9110 §5.6.6):
/// they come in lower case.
pub(super) fn params(value: &[u8]) -> FieldParams<'_> {
    FieldParams(past_semicolon(value))
}

/// The first parameter of a name.
pub fn param(value: &[u8], name: &str) -> Option<Vec<u8>> {
    params(value).find(|(known, _)| known == name).map(|(_, value)| value)
}

pub(super) struct FieldParams<'a>(&'a [u8]);

impl Iterator for FieldParams<'_> {
    type Item = (String, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.trim_ascii_start();
            if text.is_empty() {
                return None;
            }
            let end = text.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let Some(value) = rest.strip_prefix(b"=") else {
                self.0 = past_semicolon(rest);
                continue;
            };
            let (value, rest) = if let Some(quoted) = value.trim_ascii_start().strip_prefix(b"\"") {
                quoted_string(quoted)
            } else {
                let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
                (value[..end].trim_ascii().to_vec(), &value[end..])
            };
            self.0 = past_semicolon(rest);
            let name = String::from_utf8_lossy(name.trim_ascii_end()).to_ascii_lowercase();
            return Some((name, value));
        }
    }
}

fn past_semicolon(text: &[u8]) -> &[u8] {
    let at = text.iter().position(|&byte| byte == b';');
    at.map_or(&[], |at| &text[at + 1..])
}

/// Reads up to the closing quote, and returns what is behind that, too. Browsers write a backslash as it is, others
/// put one before a quote: it is one of the text unless a quote is behind it that does not end the value. A value
/// that is not closed goes on to the end.
fn quoted_string(mut text: &[u8]) -> (Vec<u8>, &[u8]) {
    let ends = |behind: &[u8]| matches!(behind.trim_ascii_start().first(), None | Some(b';'));
    let mut value = Vec::new();
    loop {
        text = match text {
            [] => return (value, text),
            [b'"', behind @ ..] => return (value, behind),
            [b'\\', b'"', behind @ ..] if !ends(behind) => {
                value.push(b'"');
                behind
            }
            [byte, behind @ ..] => {
                value.push(*byte);
                behind
            }
        };
    }
}

/// The `Content-Disposition` of a part (RFC 7578 §4.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    /// The field's name.
    pub name: Option<Vec<u8>>,
    /// There is one, in whatever way it is written: then this is a file.
    pub filename: Option<Vec<u8>>,
}

impl Disposition {
    /// Reads the value of the field.
    pub fn of(value: &[u8]) -> Self {
        let mut found = Self::default();
        let (mut extended, mut other) = (None, None);
        for (name, value) in params(value) {
            match name.as_str() {
                "name" => drop(found.name.get_or_insert_with(|| without_escapes(&value))),
                "filename" => drop(found.filename.get_or_insert_with(|| without_escapes(&value))),
                "filename*" => match extended_value(&value) {
                    Some(value) => drop(extended.get_or_insert(value)),
                    None => drop(other.get_or_insert(value)),
                },
                // In pieces (RFC 2231 §3).
                piece if piece.starts_with("filename*") => {
                    other.get_or_insert_with(Vec::new).extend_from_slice(&value);
                }
                _ => {}
            }
        }
        // Who writes both means this one; the other is for those who do not know it.
        found.filename = extended.or(found.filename).or(other);
        found
    }
}

/// Undoes what browsers do to the three bytes that would end a name (WHATWG HTML, multipart/form-data encoding algorithm),
/// and nothing else: a percent sign they leave as it is.
fn without_escapes(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let (byte, behind) = match rest {
            [b'%', b'2', b'2', behind @ ..] => (b'"', behind),
            [b'%', b'0', b'D' | b'd', behind @ ..] => (b'\r', behind),
            [b'%', b'0', b'A' | b'a', behind @ ..] => (b'\n', behind),
            _ => (*byte, behind),
        };
        value.push(byte);
        rest = behind;
    }
    value
}

/// A value with its charset (RFC 8187 §3.2): `utf-8'en'na%C3%AFve`. None in a charset that is not known.
fn extended_value(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let text: Cow<'_, [u8]> = query::decode(text);
    Some(Charset::named(charset)?.to_utf8(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_however_they_are_written() {
        let all = |value: &str| {
            let all = params(value.as_bytes());
            all.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)))
                .collect::<Vec<_>>()
                .join("|")
        };
        for (value, expected) in [
            ("form-data", ""),
            ("form-data;", ""),
            ("form-data; name=a", "name=a"),
            ("form-data ; NAME = a ;FileName=\"b\"", "name=a|filename=b"),
            ("form-data; name=\"a;b=c\"; x=y", "name=a;b=c|x=y"),
            ("form-data; name=\"a\"junk; x=y", "name=a|x=y"),
            ("form-data; junk; ; =z; x=y", "=z|x=y"),
            (r#"form-data; name="say \"hi\"""#, r#"name=say "hi""#),
            (r#"form-data; name="a\"; filename="b\""#, r"name=a\|filename=b\"),
            (r#"form-data; filename="C:\dir\new.txt""#, r"filename=C:\dir\new.txt"),
            ("form-data; filename=\"not closed; x=y", "filename=not closed; x=y"),
            ("form-data; filename=", "filename="),
            ("form-data; filename=\"", "filename="),
        ] {
            assert_eq!(all(value), expected, "{value}");
        }
    }

    #[test]
    fn what_has_a_file_name_has_one() {
        let filename = |value: &[u8]| Disposition::of(value).filename;
        let named = |value: &str, name: &[u8]| {
            let value = format!("form-data; name=f; {value}");
            assert_eq!(filename(value.as_bytes()).as_deref(), Some(name), "{value}");
            assert_eq!(Disposition::of(value.as_bytes()).name.as_deref(), Some(&b"f"[..]), "{value}");
        };
        named("filename=a", b"a");
        named("filename=\"\"", b"");
        named("FILENAME=\"a%22%0D%0a%25%2F\"", b"a\"\r\n%25%2F");
        named("filename*=utf-8''na%C3%AFve.txt", "naïve.txt".as_bytes());
        named("Filename*=UTF-8'de'a'b", b"a'b");
        named("filename*=iso-8859-1''na%EFve", "naïve".as_bytes());
        named("filename=\"x\"; filename*=utf-8''y", b"y");
        named("filename*=utf-8''y; filename=\"x\"", b"y");
        named("filename=\"x\"; filename*=koi8-r''%D1", b"x");
        named("filename*=koi8-r''%D1", b"koi8-r''%D1");
        named("filename*=bare", b"bare");
        named("filename*0=\"a\"; filename*1=\"b\"", b"ab");
        assert_eq!(filename(b"form-data; name=f; filename=\"na\xefve\"").as_deref(), Some(&b"na\xefve"[..]));
        assert_eq!(filename(b"form-data; name=f"), None);
        assert_eq!(Disposition::of(b"form-data; filename=f").name, None);
    }
}
