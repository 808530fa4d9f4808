//! Reads templates.

use super::strftime::TimeFormat;
use super::{Directive, Only, Piece, Template, TemplateError, Unit, Variable};
use crate::format::escape;

/// The pieces of `source`, each value with the character that ends it.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, TemplateError> {
    if source.len() > Template::LONGEST {
        return Err(TemplateError::TooLong { bytes: source.len() });
    }
    let mut reader = Reader { rest: source, at: 1 };
    let (mut pieces, mut values) = (Vec::new(), 0);
    while let Some(c) = reader.peek() {
        match (c == '%').then(|| reader.directive()).transpose()? {
            Some(Some(value)) => {
                values += 1;
                if values > Template::MOST_VALUES {
                    return Err(TemplateError::TooMany { at: reader.at });
                }
                pieces.push(Piece::Directive(value));
            }
            Some(None) => push_literal('%', &mut pieces),
            None => push_literal(reader.literal(c)?, &mut pieces),
        }
    }
    set_ends(&mut pieces);
    Ok(pieces)
}

fn push_literal(c: char, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Literal(text)) => text.push(c),
        _ => pieces.push(Piece::Literal(c.into())),
    }
}

/// A value ends with the first character of the literal behind it. The last has what ends the one before: the character
/// that readers split by.
fn set_ends(pieces: &mut [Piece]) {
    let last = pieces.iter().rev().find_map(|piece| match piece {
        Piece::Literal(text) => text.chars().next_back(),
        Piece::Directive(_) => None,
    });
    let mut next = last;
    for piece in pieces.iter_mut().rev() {
        match piece {
            Piece::Literal(text) => next = text.chars().next(),
            Piece::Directive(value) => value.end = next.filter(|&c| separates(c)),
        }
    }
}

/// Whether a reader would look for `c` to find where a value ends; a quote is escaped in any case.
fn separates(c: char) -> bool {
    !c.is_alphanumeric() && c != '"'
}

struct Reader<'a> {
    rest: &'a str,
    /// The place of the next character, from 1.
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        self.at += usize::from(chars.next().is_some());
        self.rest = chars.as_str();
    }

    /// A character that stands for itself, or an escape.
    fn literal(&mut self, c: char) -> Result<char, TemplateError> {
        let at = self.at;
        self.skip();
        if c == '\\' {
            let escaped = match self.peek() {
                Some('"') => '"',
                Some('t') => '\t',
                _ => return Err(TemplateError::Backslash { at }),
            };
            self.skip();
            return Ok(escaped);
        }
        if escape::is_hidden(c) && c != '\t' { Err(TemplateError::Control { found: c, at }) } else { Ok(c) }
    }

    /// From a percent sign to its letter. None: the sign itself is meant.
    fn directive(&mut self) -> Result<Option<Directive>, TemplateError> {
        let (start, at) = (self.rest, self.at);
        self.skip();
        let only = self.modifiers(at)?;
        let argument = self.argument();
        let letter = self.peek();
        self.skip();
        let directive = || start.strip_suffix(self.rest).unwrap_or(start).to_owned();
        match (letter, argument) {
            (None, _) => Err(TemplateError::Unfinished { directive: directive(), at }),
            (Some('{'), _) => Err(TemplateError::Unfinished { directive: start.to_owned(), at }),
            (Some('%'), None) => Ok(None),
            (Some(letter), argument) => {
                let field = field(letter, argument, directive, at)?;
                Ok(Some(Directive { field, only, end: None }))
            }
        }
    }

    /// `<`, `>` and a list of statuses, in any order.
    fn modifiers(&mut self, at: usize) -> Result<Option<Only>, TemplateError> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_digit() || "<>!,".contains(c))).unwrap_or(self.rest.len());
        let (all, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.at += all.len(); // it is ASCII
        self.rest = rest;
        let list = all.trim_matches(['<', '>']);
        if list.is_empty() {
            return Ok(None);
        }
        let (not, list) = list.strip_prefix('!').map_or((false, list), |list| (true, list));
        let status = |text: &str| match text.parse() {
            Ok(status @ 100..=999) => Ok(status),
            _ => Err(TemplateError::BadStatus { status: text.to_owned(), at }),
        };
        Ok(Some(Only { not, statuses: list.split(',').map(status).collect::<Result<_, _>>()? }))
    }

    /// Reads what is in braces. A brace that is not closed is left where it is, as the letter.
    fn argument(&mut self) -> Option<&'a str> {
        let (argument, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
        self.at += argument.chars().count() + 2;
        self.rest = rest;
        Some(argument)
    }
}

fn field(
    letter: char,
    argument: Option<&str>,
    directive: impl FnOnce() -> String,
    at: usize,
) -> Result<Variable, TemplateError> {
    let field = match (letter, argument) {
        ('t', format) => Some(Variable::Time(TimeFormat::parse(format.unwrap_or_default(), at)?)),
        ('T', Some(unit)) => duration(unit),
        ('i', Some(name)) => header(name),
        (letter, None) => plain(letter),
        _ => None,
    };
    let instead = match (letter, argument) {
        ('T', Some(_)) => "there are %T, %{s}T, %{ms}T and %{us}T",
        ('i', _) => "there are %{Referer}i, %{User-Agent}i and %{Host}i",
        (letter, Some(_)) if plain(letter).is_some() => "the letter takes nothing in braces",
        _ => return field.ok_or_else(|| TemplateError::UnknownLetter { directive: directive(), at }),
    };
    field.ok_or_else(|| TemplateError::UnknownArgument { directive: directive(), at, instead })
}

/// The letters that take nothing in braces.
fn plain(letter: char) -> Option<Variable> {
    Some(match letter {
        'h' => Variable::Client,
        'a' => Variable::Address,
        'l' => Variable::Absent,
        'u' => Variable::User,
        'r' => Variable::RequestLine,
        'm' => Variable::Method,
        'U' => Variable::Path,
        'q' => Variable::Query,
        'H' => Variable::Protocol,
        's' => Variable::Status,
        'b' => Variable::BytesOrDash,
        'B' => Variable::Bytes,
        'D' => Variable::Duration(Unit::Micros),
        'T' => Variable::Duration(Unit::Seconds),
        'v' => Variable::Server,
        'V' => Variable::HostName,
        'L' => Variable::Id,
        _ => return None,
    })
}

fn duration(unit: &str) -> Option<Variable> {
    Some(Variable::Duration(match unit {
        "s" => Unit::Seconds,
        "ms" => Unit::Millis,
        "us" => Unit::Micros,
        _ => return None,
    }))
}

fn header(name: &str) -> Option<Variable> {
    let fields =
        [("Referer", Variable::Referer), ("User-Agent", Variable::UserAgent), ("Host", Variable::Host)];
    fields.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, field)| field)
}
