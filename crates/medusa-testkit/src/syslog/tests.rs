use super::*;

/// What makes trouble: quotes, brackets, a backslash, letters beyond ASCII, and spaces at the end.
const TEXT: &str = r#"a "quoted" [x] back\slash é 世界 <13>1 %n  "#;

/// Both forms, by every way that takes both.
fn ways(server: &LogServer) -> Vec<Vec<String>> {
    let remote = |address: SocketAddr, flags: &[&str]| {
        let server = ["-n".to_owned(), address.ip().to_string(), "-P".to_owned(), address.port().to_string()];
        flags.iter().map(|flag| (*flag).to_owned()).chain(server).collect::<Vec<_>>()
    };
    vec![
        remote(server.udp(), &["-d"]),
        remote(server.tcp_lf(), &["-T"]),
        remote(server.tcp_octet(), &["-T", "--octet-count"]),
    ]
}

#[track_caller]
fn send(way: &[String], more: &[&str]) {
    let common = ["-t", "medusa", "--id=77", "-p", "local3.warning"];
    let words = way.iter().map(String::as_str).chain(common).chain(more.iter().copied());
    logger(words.chain(["--", TEXT]));
}

fn expected(hostname: &str) -> Message {
    let text = |text: &str| text.to_owned();
    Message {
        facility: text("local3"),
        severity: text("warning"),
        hostname: text(hostname),
        app_name: text("medusa"),
        procid: text("77"),
        text: text(TEXT),
        ..Message::default()
    }
}

/// It without the time and what came, which are looked at by themselves.
fn understood(message: &Message) -> Message {
    Message { procid: message.procid.clone(), ..message.content() }
}

fn this_machine() -> String {
    run("uname", ["-n"]).said()
}

#[test]
fn both_servers_understand_what_logger_says_by_the_network() {
    for kind in Kind::ALL {
        let server = LogServer::start(kind);
        let mut count = 0;
        for way in ways(&server) {
            for (form, data) in [
                (&["--rfc3164"][..], ""),
                (&["--rfc5424=notq"], ""),
                (
                    &[
                        "--rfc5424=notq",
                        "--msgid",
                        "access",
                        "--sd-id",
                        "m@32473",
                        "--sd-param",
                        r#"k="\"\]""#,
                    ],
                    r#"[m@32473 k="\"\]"]"#,
                ),
            ] {
                send(&way, form);
                count += 1;
                let message = server.wait_for(count).remove(count - 1);
                let msgid = if data.is_empty() { "" } else { "access" }.to_owned();
                let wanted = Message { structured_data: data.to_owned(), msgid, ..expected(&this_machine()) };
                assert_eq!(understood(&message), wanted, "{kind:?} {way:?} {form:?}");
                assert!(message.raw.starts_with("<156>") && message.raw.ends_with(TEXT), "{message:?}");
                assert!(message.time.starts_with("20") && message.time.contains('T'), "{message:?}");
            }
        }
    }
}

#[test]
fn both_servers_understand_what_logger_says_on_the_machine() {
    for kind in Kind::ALL {
        let server = LogServer::start(kind);
        let mut count = 0;
        for (socket, form) in [
            (server.unix_datagram(), "--rfc3164"),
            (server.unix_datagram_rfc5424(), "--rfc5424=notq"),
            (server.unix_stream(), "--rfc3164"),
        ] {
            // Without a form, logger writes what the library's syslog(3) does: no host name.
            let form = if form == "--rfc3164" { &[][..] } else { &[form] };
            send(&["-u".to_owned(), socket.display().to_string()], form);
            count += 1;
            let message = server.wait_for(count).remove(count - 1);
            assert_eq!(understood(&message), expected(&this_machine()), "{kind:?} {form:?}");
        }
    }
}

#[test]
fn the_encrypted_port_has_a_certificate_of_its_own_authority() {
    for kind in Kind::ALL {
        let server = LogServer::start(kind);
        let message = "<134>1 - host medusa - - - over TLS";
        let framed = format!("{} {message}", message.len());
        let (address, ca) = (server.tls().to_string(), server.ca().display().to_string());
        let ip = server.tls().ip().to_string();
        let args = ["s_client", "-quiet", "-verify_return_error", "-connect", &address, "-CAfile", &ca];
        let mut openssl = Command::new("openssl");
        openssl.args(args).args(["-verify_ip", &ip]);
        // It goes on until the server closes.
        let _client = Process::start_reading(&mut openssl, framed.as_bytes());
        assert_eq!(server.wait_for_text("over TLS").hostname, "host", "{kind:?}");
    }
}

#[test]
fn a_server_that_was_stopped_comes_back_where_it_was() {
    for kind in Kind::ALL {
        let mut server = LogServer::start(kind);
        let way = &ways(&server)[2];
        send(way, &["--rfc5424"]);
        server.wait_for(1);
        server.stop();
        assert!(std::net::TcpStream::connect(server.tcp_octet()).is_err(), "{kind:?} listens on");
        assert!(!server.unix_datagram().exists());
        server.restart();
        send(way, &["--rfc5424"]);
        server.wait_for(2);
    }
}

#[test]
fn an_address_is_found_in_the_tables_of_the_system() {
    let address = OwnAddress::claim();
    let (listener, pid) = (address.port(1514), std::process::id());
    assert!(!bound(pid, "tcp", &[listener]));
    let _listener = std::net::TcpListener::bind(listener).expect("its ports are free");
    let _socket = std::net::UdpSocket::bind(listener).expect("its ports are free");
    assert!(bound(pid, "tcp", &[listener]) && bound(pid, "udp", &[listener]));
}
