//! `Request`, documented.

use crate::docs::{Class, item};

pub(crate) const CLASS: Class = Class {
    name: "Request",
    doc: "One request, as a handler sees it. Its fields are fetched when first asked for; a handler may add its own. \
          After the request has been answered, only what was asked for before is still there.",
    fields: &[
        item("method", "string", "`GET`, `POST`, ..."),
        item("path", "string", "The path as it came: not decoded, without the query."),
        item("tail", "string", "The part of the path below the mount's pattern, not decoded."),
        item("query", "string?", "The query, without its `?`, not decoded. See `req:arg`."),
        item("host", "string?", "The host asked for, without its port."),
        item(
            "params",
            "{ [string]: string }",
            "What the pattern's `{name}`s matched, decoded. The value of a `{name}` never holds a slash, and no value a `..` \
             segment.",
        ),
        item(
            "headers",
            "{ [string]: string }",
            "The fields by their lower-case names; repeated ones are joined with commas.",
        ),
        item(
            "args",
            "{ [string]: string }",
            "The query's parameters, decoded: the first value of each. A query of more than 1000 is an error, and the client gets \
             400.",
        ),
        item(
            "cookies",
            "{ [string]: string }",
            "The cookies, not decoded; of two with the same name, the one with the longer path.",
        ),
        item("last_event_id", "string?", "What a client that reconnects to a stream of events saw last."),
        item(
            "client",
            "string",
            "The address of who asks, or `unix`: the peer's, or whom a trusted proxy speaks for.",
        ),
        item("peer", "string", "The address of the connection's other end, or `unix`."),
        item(
            "id",
            "string",
            "Tells this request from all others: 26 characters, or what a trusted proxy called it.",
        ),
        item(
            "scheme",
            "string",
            "`https` if the client's connection is encrypted, here or at a trusted proxy; else `http`.",
        ),
        item("secure", "boolean", "Whether the scheme is `https`."),
        item(
            "user",
            "string?",
            "Who asks, once a wrapper such as `medusa.handler.auth` has found that out. The function of `medusa.handler.wrap` may set it, \
             once and at most 256 bytes: the access log has it, also where the function answers by itself, and what is behind sees it \
             if it is set before `next` is called.",
        ),
        item("status", "number?", "In a page of `medusa.handler.errors`: the status that it is for."),
        item("tls", "TlsInfo?", "What was agreed on, if the connection to this server is encrypted."),
        item("version", "string", "`1.0`, `1.1` or `2`."),
    ],
    methods: &[
        item(
            "arg",
            "(name: string) -> string?",
            "The first value of a query parameter, decoded; nil if it is absent.",
        ),
        item(
            "args_all",
            "(name: string) -> { string }",
            "All values of a query parameter, decoded, in their order.",
        ),
        item(
            "body",
            "() -> string",
            "Reads the whole body. Longer than the server's `limits.body`, it is an error, and the client gets 413. What \
             was read is gone: reading a body a second time, or in a second way, is an error. While a body is waited for, \
             the handler's time limit rests; the client's pace has limits of its own.",
        ),
        item(
            "json",
            "() -> any",
            "Reads the body and decodes it as `medusa.json.decode` does. If it is no JSON, or has more than 50,000 values \
             and names, it is an error, and the client gets 400; if it is compressed (`Content-Encoding`), 415.",
        ),
        item(
            "chunks",
            "() -> (() -> string?)",
            "Goes through the body as it comes: `for chunk in req:chunks() do`. The client is held back while the loop is \
             busy. Each chunk brings a CPU budget of its own.",
        ),
        item(
            "read",
            "(n: number?) -> string?",
            "The next `n` bytes of the body (at most 16 MiB), fewer at its end, nil behind it; without `n` whatever comes \
             next.",
        ),
        item(
            "trailers",
            "() -> { [string]: string }",
            "The fields that came behind the body, once it has been read to its end.",
        ),
        item(
            "form",
            "() -> { [string]: string | UploadedFile }",
            "Reads the body as a form, `application/x-www-form-urlencoded` or `multipart/form-data`: the first value of each \
             name, so that nobody can make a list of what should be a string by sending it twice; all of them are in \
             `form_all`. May be called again. A file that was not chosen is left out. Anything but a form is answered \
             415, a malformed one 400; more than 1000 fields, a field (not a file) of more than 1 MiB, or fields of more \
             than 8 MiB together (names included) 413. Files are limited by `limits.body` only. What has a file name, however it is \
             written (`filename*`, too), is a file. Values are bytes as they were sent, which is UTF-8 from all browsers; \
             what says that it is in ISO-8859-1 becomes UTF-8, what says that it is in another charset, or compressed, is \
             answered 415. The answer and the server's log say why.",
        ),
        item(
            "form_all",
            "(name: string) -> { string | UploadedFile }",
            "All values of a name in the form, in their order: several check boxes, several files.",
        ),
        item(
            "websocket",
            "(run: (ws: WebSocket) -> (), options: WebSocketOptions?) -> Answer",
            "Opens a session with the client, to be returned: `return req:websocket(function(ws) ... end)`. The function \
             runs once the client has its answer, for as long as it likes. A request that does not open a session is \
             answered 426 or 400, one from a page of another site 403, and the function is not called.",
        ),
    ],
};

pub(crate) const INNER_ANSWER: Class = Class {
    name: "InnerAnswer",
    doc: "The answer of the handler behind a wrapper's function, which `next(req)` gives (`medusa.handler.wrap`), to be returned. Its \
          body goes by the script. Once the request has been answered, using it is an error.",
    fields: &[
        item(
            "status",
            "number",
            "The status code. It can be set, to 200 to 599, unless the answer opens a session.",
        ),
        item(
            "headers",
            "{ [string]: string | { string } }",
            "The fields, by their names in upper or lower case. `answer.headers[name] = value` sets one, with a list several of one \
             name, with nil none; `for name, value in answer.headers do` goes through them. Several values are one, joined with \
             commas, but for `Set-Cookie`, which is a list then. `Connection`, `Content-Length`, `Date`, `Server`, \
             `Transfer-Encoding` and their like are the server's to write.",
        ),
    ],
    methods: &[],
};
