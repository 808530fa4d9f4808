//! The reference of sessions.

use crate::docs::{Class, item};

pub(crate) const CLASS: Class = Class {
    name: "WebSocket",
    doc: "A session with a client, from `req:websocket`. `for message, kind in ws do` goes through what the client sends, \
          until the session ends. A `ws` may be kept, used as a key and be given fields; any coroutine and any request of \
          the same VM may send by it. It ends with its function: 1000 if that returns, 1011 if it fails. While the \
          function does not receive, the client is held back.",
    fields: &[
        item("request", "Request", "The request that opened it; readable until the function ends."),
        item("protocol", "string?", "The subprotocol that was agreed on."),
    ],
    methods: &[
        item(
            "recv",
            "(seconds: number?) -> (string?, string | number | nil, string?)",
            "The next message, and `\"text\"` or `\"binary\"`. When the session has ended: nil, the close code and the \
             reason; 1005 is a close without a code, 1006 a client that was lost. When nothing has come for so many \
             `seconds`: nothing.",
        ),
        item(
            "send",
            "(text: string) -> ()",
            "Sends a text, which must be UTF-8. Waits while 16 messages or 64 KiB wait to be sent. When the session has \
             ended, it is an error.",
        ),
        item("send_binary", "(bytes: string) -> ()", "Sends bytes, as `send` does a text."),
        item(
            "try_send",
            "(text: string) -> boolean",
            "Sends a text if that needs no waiting: for what many are told. False if this client does not keep up, or \
             has left.",
        ),
        item("try_send_binary", "(bytes: string) -> boolean", "Sends bytes, as `try_send` does a text."),
        item("ping", "() -> boolean", "Sends a ping, beside those that are sent by themselves."),
        item(
            "close",
            "(code: number?, reason: string?) -> ()",
            "Ends the session; what was sent before still goes out. The code is 1000 unless given: 1000 to 1003, 1007 to \
             1014, or 3000 to 4999 of your own. The reason may have 123 bytes.",
        ),
        item("is_open", "() -> boolean", "Whether the session has not ended."),
    ],
};

pub(crate) const OPTIONS: Class = Class {
    name: "WebSocketOptions",
    doc: "What `req:websocket` takes.",
    fields: &[
        item(
            "protocols",
            "{ string }?",
            "Subprotocols, the preferred one first. The first that the client offers is agreed on; if there is none, the \
             session goes without.",
        ),
        item(
            "origins",
            "\"*\" | { string } | nil",
            "From which pages a browser may open a session: `\"*\"` for all, or a list like `{ \"https://example.com\" }`. \
             Default: only from pages of the same host and port, for a browser sends the user's cookies along with any \
             page's session. Others are answered 403. Clients that are no browsers send no origin and are let in.",
        ),
        item(
            "max_message",
            "number?",
            "The longest message taken, in bytes. A longer one ends the session with 1009. Default 1 MiB: a client can \
             make the server hold so much.",
        ),
        item(
            "ping",
            "number?",
            "After so many seconds of silence the client is sent a ping, and after as many more without an answer the \
             session has ended (1006). Default 30: routers forget a silent connection after a minute or more. 0: never.",
        ),
        item(
            "idle",
            "number?",
            "After so many seconds without a message, either way, the session is closed with 1001. Default 0: never.",
        ),
        item(
            "compress",
            "boolean?",
            "Whether messages are compressed where the client can do so (`permessage-deflate`, RFC 7692): those of 128 bytes \
             and more, each by itself, so that a session that waits holds no memory for it. Default true; false for what is \
             compressed already.",
        ),
        item(
            "on_reload",
            "(\"end\" | \"keep\")?",
            "What becomes of the session when a change is published without its handler, as by a reload of the script. Default \
             `\"end\"`: it is closed with 1001, and the client should connect again. `\"keep\"`: it goes on, in the code and with \
             the variables it began with, for at most `keep`.",
        ),
        item(
            "keep",
            "number?",
            "For how many seconds that may be. Default 3600; at least 1, at most 86,400.",
        ),
    ],
    methods: &[],
};
