//! The origin server that all sections ask, and the two ways to ask it: to be answered, or to be refused.
//!
//! Both look beyond the one answer. What a server makes of the bytes *behind* a request shows whether it agrees with
//! us where the request ended; this is where requests are smuggled. So every request is followed, in the same write,
//! by another one, which must be answered as if it stood alone, or not at all if the connection is to be closed.

use std::fs;
use std::time::Duration;

use medusa_testkit::{Client, Medusa, Response, Server, Site, wait};

/// The site under test. Nothing in it limits a test, but `body`.
const SCRIPT: &str = r"
    web = medusa.http.server { listen = '127.0.0.1:0', limits = { body = 100000 } }
    -- Any method; does not look at the content.
    web:mount('/n', function(req) return req:arg('n') or 'n' end)
    -- Reads the content and gives it back.
    web:mount('/echo', function(req) return req:body() end)
    -- What came as one field.
    web:mount('/field/{name}', function(req) return `<{tostring(req.headers[req.params.name])}>` end)
    web:mount('/host', function(req) return tostring(req.host) end)
    web:mount('one.example/host', function(req) return `one: {req.host}` end)
    web:mount('/target', function(req) return `{req.path}?{req.query}` end)
    -- A response of a length that is not known beforehand.
    web:mount('/stream', function()
        return { body = function(write) for part = 1, 3 do write(`part {part}\n`) end end }
    end)
    web:mount('/stream/{code}', function(req)
        return {
            status = tonumber(req.params.code),
            -- An empty part must not look like the last chunk.
            body = function(write) write('') write('one') write('') write('') write('two') write('') end,
        }
    end)
    web:mount('/stream/fails', function()
        return { body = function(write) write('begun') medusa.sleep(0.001) error('on purpose') end }
    end)
    web:mount('/cookies', function() return { headers = { ['set-cookie'] = { 'a=1', 'b=2' } }, body = 'content' } end)
    -- Any status, always with content.
    web:mount('/status/{code}', function(req)
        return { status = tonumber(req.params.code), headers = { location = '/n' }, body = 'content' }
    end)
    -- Any one field.
    web:mount('/set', function(req)
        return { headers = { [req:arg('name')] = req:arg('value') }, body = 'content' }
    end)
    web:mount('/fails', function() error('on purpose') end)
    web:mount('GET,PUT /some', function(req) return req.method end)
    web:mount('/files/', medusa.handler.files('public'))
";

/// What [`SCRIPT`] has at `/files/ten.txt`.
pub(crate) const TEN: &str = "0123456789";

/// The request behind every other one, and what is answered to it.
const AFTER: &str = "GET /n?n=after HTTP/1.1\r\nHost: test\r\n\r\n";

/// A request in front of others, and what is answered to it.
const BEFORE: &str = "GET /n?n=before HTTP/1.1\r\nHost: test\r\n\r\n";

/// More than the time within which two changes of a file may look like one.
const TICK: Duration = Duration::from_millis(50);

/// A running origin server.
pub(crate) struct Origin {
    pub(crate) server: Server,
    pub(crate) site: Site,
}

impl Origin {
    /// Starts one with the common script.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with(SCRIPT)
    }

    /// Starts one that loses its patience with a client after a second.
    #[track_caller]
    pub(crate) fn impatient() -> Self {
        Self::with(&SCRIPT.replace("limits = {", "limits = { head = 1, idle = 1,"))
    }

    /// Starts one with a script of its own.
    #[track_caller]
    pub(crate) fn with(script: &str) -> Self {
        Self::on(site(script))
    }

    /// Starts one with the common script whose files are old enough for strong entity tags: for some milliseconds
    /// after a change, nobody can know that another one would show.
    #[track_caller]
    pub(crate) fn with_settled_files() -> Self {
        let site = site(SCRIPT);
        wait::until("the clock of the file system has gone on", || {
            let written = fs::metadata(site.at("public/ten.txt"))
                .and_then(|file| file.modified())
                .expect("our own file");
            written.elapsed().is_ok_and(|age| age > TICK).then_some(())
        });
        Self::on(site)
    }

    #[track_caller]
    fn on(site: Site) -> Self {
        let server = Medusa::new(env!("CARGO_BIN_EXE_medusa")).serve(site.path()).start();
        Self { server, site }
    }

    /// The entity tag of the file at `target`: a strong one, if the files have [settled](Self::with_settled_files).
    #[track_caller]
    pub(crate) fn etag(&self, target: &str) -> String {
        self.server.get(target).header("etag").expect("a file has an entity tag").to_owned()
    }

    /// A connection to it.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        self.server.connect()
    }

    /// Asserts that `request` is answered with `status`, and that both sides agree where it ended.
    #[track_caller]
    pub(crate) fn answers(&self, request: impl AsRef<[u8]>, status: u16) -> Response {
        self.answer(request.as_ref(), &[status]).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// [`answers`](Self::answers) for a table of requests; what is wrong with any of them is told at once.
    #[track_caller]
    pub(crate) fn answers_all<R: AsRef<[u8]>>(&self, requests: impl IntoIterator<Item = R>, status: u16) {
        expect_all(requests, |request| self.answer(request.as_ref(), &[status]).map(drop));
    }

    /// Asserts that `request` is refused with one of `statuses` and the connection closed, whether it is the first on
    /// its connection or one in a pipeline; nothing behind it is answered.
    #[track_caller]
    pub(crate) fn refuses(&self, request: impl AsRef<[u8]>, statuses: &[u16]) {
        self.refusal(request.as_ref(), statuses, true).unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    /// [`refuses`](Self::refuses) for a table of requests; what is wrong with any of them is told at once.
    #[track_caller]
    pub(crate) fn refuses_all<R: AsRef<[u8]>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        statuses: &[u16],
    ) {
        expect_all(requests, |request| self.refusal(request.as_ref(), statuses, true));
        self.answers(BEFORE, 200);
    }

    /// [`refuses_all`](Self::refuses_all) for requests whose heads are good and whose content is not. By then the
    /// answer may have begun, so that it need not say that it is the last.
    #[track_caller]
    pub(crate) fn refuses_content_all<R: AsRef<[u8]>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        statuses: &[u16],
    ) {
        expect_all(requests, |request| self.refusal(request.as_ref(), statuses, false));
        self.answers(BEFORE, 200);
    }

    fn answer(&self, request: &[u8], statuses: &[u16]) -> Result<Response, String> {
        let mut client = self.connect();
        client.send([request, AFTER.as_bytes()].concat());
        let answer = next(&mut client, request)?;
        expect_status(&answer, statuses, request)?;
        if answer.says_close() {
            client.closed().map_err(|instead| format!("{}: {instead}", shown(request)))?;
        } else {
            let after = next(&mut client, AFTER.as_bytes())?;
            if (after.status, after.text().as_str()) != (200, "after") {
                return Err(format!("behind {} the connection is out of step: {after:?}", shown(request)));
            }
        }
        Ok(answer)
    }

    /// `announced`: whether the refusal itself must say that the connection closes.
    fn refusal(&self, request: &[u8], statuses: &[u16], announced: bool) -> Result<(), String> {
        for before in [0, 2] {
            let of = |wrong: String| format!("after {before} requests: {wrong}");
            let mut client = self.connect();
            let pipeline = [BEFORE.repeat(before).as_bytes(), request, AFTER.as_bytes()].concat();
            // A server may stop to read what it has refused.
            let _cut_off = client.try_send(pipeline);
            for _ in 0..before {
                let answer = next(&mut client, BEFORE.as_bytes()).map_err(of)?;
                expect_status(&answer, &[200], BEFORE.as_bytes()).map_err(of)?;
            }
            let refused = next(&mut client, request).map_err(of)?;
            expect_status(&refused, statuses, request).map_err(of)?;
            if announced && !refused.says_close() {
                return Err(of(format!("{} is refused without `Connection: close`", shown(request))));
            }
            client.closed().map_err(|instead| of(format!("{}: {instead}", shown(request))))?;
        }
        Ok(())
    }
}

#[track_caller]
fn site(script: &str) -> Site {
    Site::script(script).file("public/page.html", "<p>page</p>").file("public/ten.txt", TEN)
}

/// Checks every case, and panics with all that is wrong.
#[track_caller]
pub(crate) fn expect_all<T>(
    cases: impl IntoIterator<Item = T>,
    mut check: impl FnMut(T) -> Result<(), String>,
) {
    let mut checked = 0;
    let wrong: Vec<String> =
        cases.into_iter().inspect(|_| checked += 1).filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {checked} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 0, "a table of nothing");
}

/// A GET; `fields` is none, or some lines without the last line's end.
pub(crate) fn get(target: &str, fields: &str) -> String {
    message("GET", target, fields)
}

/// A request without content.
pub(crate) fn message(method: &str, target: &str, fields: &str) -> String {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// A POST with fields that say how long its content is, and what stands behind them.
pub(crate) fn post(target: &str, fields: &str, content: &str) -> String {
    message("POST", target, fields) + content
}

/// A POST to `/echo` in chunks, given as they are on the wire.
pub(crate) fn chunked(chunks: &str) -> String {
    post("/echo", "Transfer-Encoding: chunked", chunks)
}

fn next(client: &mut Client, request: &[u8]) -> Result<Response, String> {
    let method = request.split(|&byte| byte == b' ').next().unwrap_or_default();
    match client.try_response(&String::from_utf8_lossy(method)) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(format!("{} gets a closed connection and no answer", shown(request))),
        Err(error) => Err(format!("{} gets no answer: {error}", shown(request))),
    }
}

fn expect_status(answer: &Response, statuses: &[u16], request: &[u8]) -> Result<(), String> {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    let Response { status, body, .. } = answer;
    let body = String::from_utf8_lossy(&body[..body.len().min(20)]);
    Err(format!("{} is answered with {status}, not {statuses:?}: {body:?}...", shown(request)))
}

/// What was sent, for messages: all of it, or its length and both its ends.
fn shown(bytes: &[u8]) -> String {
    match bytes {
        [..] if bytes.len() <= 240 => format!("\"{}\"", bytes.escape_ascii()),
        [start @ .., _] => {
            let end = &bytes[bytes.len() - 80..];
            format!("{} bytes \"{} ... {}\"", bytes.len(), start[..80].escape_ascii(), end.escape_ascii())
        }
        [] => "nothing".to_owned(),
    }
}
