//! Requests behind `wrap`, whose functions take a whole server: its CPU for each.

use medusa_testkit::Site;

use crate::bench::compare::{Goal, Subject, Unit};
use crate::bench::load::{Load, Wrk};
use crate::bench::medusa::Medusa;
use crate::bench::side::{Side, Wire};

/// A handler file, alone and behind what does nothing but ask it.
const SITE: &str = "-- The site of `cargo xtask bench handlers`.
web = medusa.http.server { listen = '127.0.0.1:0' }
local inner = medusa.handler.script('handler.luau')
web:mount('/alone', inner)
web:mount('/file', medusa.handler.wrap('wrapper.luau', inner))
web:mount('/function', medusa.handler.wrap(function(req, next) return next(req) end, inner))
";
const WRAPPED: [(&str, &str); 3] = [
    ("handler file, alone", "/alone"),
    ("behind wrap(file)", "/file"),
    ("behind wrap(function)", "/function"),
];

/// Starts the server.
pub(super) fn start(medusa: &Medusa) -> Side {
    let site = Site::script(SITE)
        .file("handler.luau", "return function() return 'fine' end")
        .file("wrapper.luau", "return function(req, next) return next(req) end");
    medusa.start(site, Wire::Plain)
}

/// What is asked of it.
pub(super) fn subjects(side: &Side) -> Vec<Subject<'_>> {
    let load = Load::Wrk(Wrk::USUAL);
    let subject = |(name, path)| Subject {
        name,
        load: load.to_string(),
        unit: Unit::Request,
        goal: Goal::Open,
        ours: side,
        theirs: None,
        press: Box::new(move |side, seconds| side.press(&load, seconds, path)),
    };
    WRAPPED.map(subject).into()
}
