//! `medusa.fetch`, as far as it is the script's side: options, errors, stopping. The rest is tested end to end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_script::SessionHandle;

use super::support::{Server, by};

/// An origin that takes one connection and hands it to `serve`, once the request's header is there.
fn origin<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        serve(stream)
    });
    (addr, thread)
}

#[test]
fn what_cannot_be_sent_is_an_error_that_says_why() {
    let server = Server::start("", &[]);
    for (call, why) in [
        ("fetch('example.com')", "the URL is none"),
        ("fetch('http://h/\\r\\nX: y')", "a line end"),
        ("fetch('file:///etc/passwd')", "only http:// and https://"),
        ("fetch('http://joe:secret@h/')", "use `basic = { user =, pass = }`"),
        ("fetch('http://h/', { metod = 'GET' })", "there is no option \"metod\"; there are: method,"),
        ("fetch('http://h/', { method = 'CONNECT' })", "the method \"CONNECT\""),
        ("fetch('http://h/', { headers = { Host = 'x' } })", "the field \"host\" is the client's business"),
        (
            "fetch('http://h/', { headers = { ['x-a'] = 'a\\r\\nb: secret' } })",
            "the value of \"x-a\" holds a line end",
        ),
        ("fetch('http://h/', { headers = { ['x-a'] = true } })", "not a boolean"),
        ("fetch('http://h/', { headers = { 'x' } })", "1 is no field name"),
        (
            "fetch('http://h/', { headers = { ['X-a'] = {'1', '2'}, ['x-A'] = 'secret' } })",
            "headers: \"X-a\" and \"x-A\" are the same field",
        ),
        (
            "fetch('http://h/', { timeout = 301 })",
            "`timeout` must be a number of seconds above 0, at most 300",
        ),
        ("fetch('http://h/', { timeout = 0 })", "`timeout` must be"),
        ("fetch('http://h/', { timeout = 0 / 0 })", "`timeout` must be"),
        ("fetch('http://h/', { redirects = 1.5 })", "`redirects` must be a whole number from 0 to 20"),
        ("fetch('http://h/', { max_bytes = 0 })", "`max_bytes` must be"),
        ("fetch('http://h/', { body = 'a', json = 1 })", "either `body` or `json`"),
        ("fetch('http://h/', { json = print })", "medusa.fetch: json"),
        ("fetch('http://h/', { basic = { user = 'a:b' } })", "a user name holds no colon"),
        (
            "fetch('http://h/', { basic = { name = 'x' } })",
            "there is no option \"name\"; there are: user, pass",
        ),
        ("fetch('http://h/', { bearer = 'secret', basic = { user = 'u', pass = 'p' } })", "only one of"),
        ("fetch('http://h/', { basic = 'joe:secret' })", "the options must be a table, not a string"),
        (
            "fetch('http://h/', { basic = { user = 'joe', pass = 7357 } })",
            "`pass` must be a string, not a number",
        ),
        (
            "fetch('http://h/', { headers = 'authorization: secret' })",
            "`headers` must be a table, not a string",
        ),
        ("fetch('https://h/', { ca = 'none.pem' })", "none.pem: No such file"),
    ] {
        let error = server.eval(&format!("medusa.{call}")).unwrap_err().to_string();
        assert!(error.contains(why), "{call}: {error}");
        assert!(!error.contains("secret") && !error.contains("7357"), "{call}: {error}");
    }
}

/// Nothing listens on a port that was just given back.
#[test]
fn errors_can_be_caught_and_hold_no_secrets() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start("", &[]);
    let error = server.value(&format!(
        "local ok, why = pcall(medusa.fetch, 'http://{addr}/a?key=secret', {{ bearer = 'secret' }})
        return `{{ok}} {{(string.gsub(why, '^statement%-%d+/1', 'statement'))}}`"
    ));
    assert_eq!(
        error,
        format!(
            "false statement:1: fetch http://{addr}/a: could not connect: Connection refused (os error 111)"
        )
    );
}

#[test]
fn paths_of_handler_files_are_relative_to_the_script() {
    let server = Server::start(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/', medusa.handler.script('handlers/h.luau'))",
        &[(
            "handlers/h.luau",
            "return function() return tostring(select(2, pcall(medusa.fetch, 'https://h/', { ca = 'x/none.pem' }))) end",
        )],
    );
    let root = server.dir.path().canonicalize().unwrap();
    let answer = server.get("/").body;
    assert!(
        answer.contains(&format!("`ca` cannot be used: {}/x/none.pem: No such file", root.display())),
        "{answer}"
    );
    server.write("x/none.pem", "no certificate");
    assert!(server.get("/").body.contains("holds no certificate"));
}

#[test]
fn a_stopped_script_ends_its_fetch() {
    let server = Server::start("", &[]);
    // It would go on for longer than the origin waits.
    for stream in [false, true] {
        let (asked, was_asked) = tokio::sync::oneshot::channel();
        let (addr, origin) = origin(move |mut connection| {
            if stream {
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
            }
            asked.send(()).unwrap();
            connection.read(&mut [0]).unwrap()
        });
        let statement = format!(
            "local response = medusa.fetch('http://{addr}/', {{ stream = {stream}, timeout = 60 }})
            for chunk in response:chunks() do end"
        );
        let eval = server.engine.eval(SessionHandle::default(), statement, by("test"), None);
        server.block_on(async {
            tokio::select! {
                ended = eval => panic!("{ended:?}"),
                asked = was_asked => asked.unwrap(),
            }
        });
        assert_eq!(origin.join().unwrap(), 0, "the connection is closed, stream: {stream}");
    }
}

#[test]
fn a_body_that_is_cut_off_is_an_error_whichever_way_it_is_read() {
    let server = Server::start("", &[]);
    for (stream, read) in
        [(false, "return 'read'"), (true, "local n = 0 for c in r:chunks() do n += #c end return n")]
    {
        let (addr, origin) = origin(|mut connection| {
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").unwrap();
        });
        let error = server
            .eval(&format!("local r = medusa.fetch('http://{addr}/', {{ stream = {stream} }}) {read}"))
            .unwrap_err()
            .to_string();
        origin.join().unwrap();
        assert!(error.contains("the body of the answer could not be read"), "{error}");
    }
}

#[test]
fn what_is_no_http_is_an_error() {
    let server = Server::start("", &[]);
    for (answer, why) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "there was no proper answer"),
        ("", "there was no proper answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "there was no proper answer"),
        (
            "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
            "it redirects to what is no http",
        ),
    ] {
        let (addr, origin) = origin(|mut connection| connection.write_all(answer.as_bytes()).unwrap());
        let error = server.eval(&format!("medusa.fetch('http://{addr}/')")).unwrap_err().to_string();
        origin.join().unwrap();
        assert!(error.contains(why), "{answer:?}: {error}");
    }
}

#[test]
fn a_header_that_is_too_long_is_refused() {
    let server = Server::start("", &[]);
    let endless = |mut connection: TcpStream| {
        connection.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        // Until the client has had enough.
        (0..10_000).all(|_| connection.write_all(format!("x: {}\r\n", "y".repeat(4000)).as_bytes()).is_ok())
    };
    let (addr, origin) = origin(endless);
    let error = server.eval(&format!("medusa.fetch('http://{addr}/')")).unwrap_err().to_string();
    assert!(error.contains("there was no proper answer"), "{error}");
    assert!(!origin.join().unwrap(), "40 MB were taken");
    let (addr, origin) = self::origin(|mut connection| {
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx: {}\r\n\r\n", "y".repeat(66_000));
        connection.write_all(long.as_bytes()).unwrap();
    });
    let error = server.eval(&format!("medusa.fetch('http://{addr}/')")).unwrap_err().to_string();
    assert!(error.contains("the header of the answer is longer than 65536 bytes"), "{error}");
    origin.join().unwrap();
}
