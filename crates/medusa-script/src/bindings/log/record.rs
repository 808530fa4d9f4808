//! The classes of what functions in the way of log records are given; the tables are made in [`crate::log`].

use crate::docs::{Class, main_item};

pub(crate) const CLASS: Class = Class {
    name: "LogRecord",
    doc: "What was logged: a request that was answered, or an event of the server. A table of the function's own. What a \
          client sent is as it was sent: not decoded, and with whatever bytes it had.",
    fields: &[
        main_item("kind", "\"access\" | \"event\"", "Whether it is a request or an event."),
        main_item("time", "number", "When, in seconds since 1970: when the request's head had been read."),
        main_item(
            "level",
            "\"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\"",
            "How much it matters; a request with 5xx is an error, one with 4xx a warning, any other `info`.",
        ),
        main_item("client", "string?", "Of a request: the address of who asked, or `unix`."),
        main_item("name", "string?", "The name of that address, if `medusa.log.resolving` has found it."),
        main_item("user", "string?", "Whom the client has authenticated as."),
        main_item("method", "string?", "Of a request: its method; empty if it could not be read."),
        main_item("target", "string?", "Of a request: path and query; empty if it could not be read."),
        main_item("path", "string?", "Of a request: the target without its query."),
        main_item("host", "string?", "The host asked for, with its port."),
        main_item(
            "status",
            "number?",
            "Of a request: the status of the answer; 499 if the client left before it.",
        ),
        main_item("bytes", "number?", "Of a request: bytes of the body that were sent."),
        main_item(
            "duration",
            "number?",
            "Of a request: seconds from its head to the last byte of the answer.",
        ),
        main_item("referer", "string?", "The field `Referer`."),
        main_item("user_agent", "string?", "The field `User-Agent`."),
        main_item("server", "string?", "Of a request: the name of the server that answered."),
        main_item(
            "id",
            "string?",
            "The request's id, if the record has it; of an event, that of the request it happened to.",
        ),
        main_item("version", "string?", "Of a request: `1.0`, `1.1` or `2`."),
        main_item("part", "string?", "Of an event: the part of the server, `http`."),
        main_item("message", "string?", "Of an event: what happened."),
    ],
    methods: &[],
};

pub(crate) const LOSS: Class = Class {
    name: "LogLoss",
    doc: "Records that were lost because a function did not take them in time.",
    fields: &[
        main_item("records", "number", "How many."),
        main_item("from", "number", "The time of the first, in seconds since 1970."),
        main_item("to", "number", "The time of the last."),
    ],
    methods: &[],
};
