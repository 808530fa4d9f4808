//! `medusa.handler.dav`: a directory that others mount. What RFC 4918 asks for, what clients do that are not ours, and what hostile
//! ones do.

mod bodies;
mod bounds;
mod cadaver;
mod copy_move;
mod davfs2;
mod explorer;
mod finder;
mod litmus;
mod locks;
mod locks_of_collections;
mod office;
mod properties;
mod rclone;
mod stricter;
mod together;
mod traversal;
mod xml;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medusa_testkit::{Client, Response, Server, Site};

use super::support::{names, web};
use xml::Element;

/// `secret` by bcrypt; a cost of 4 takes a millisecond.
const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// A namespace of our own.
const OURS: &str = "https://medusa.test/ns#";

/// The body of a LOCK that wants to write alone.
const EXCLUSIVE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype><D:owner><D:href>mailto:ada@example.org</D:href></D:owner></D:lockinfo>";

/// The same beside others.
fn shared() -> String {
    EXCLUSIVE.replace("exclusive", "shared")
}

/// A site whose directory `shared` everybody may change at `/dav/`.
fn open(options: &str) -> Site {
    web(&format!("web:mount('/dav/', medusa.handler.dav('shared', {{ {options} }}))"))
        .file("shared/page.txt", "the first page")
        .file("secret", "secret")
}

/// The same for `alice` and `bob`, whose password is `secret`.
fn of_users() -> Site {
    web("users = medusa.auth.htpasswd('users.htpasswd')
        web:mount('/dav/', medusa.handler.auth(users, medusa.handler.dav('shared')))")
    .file("shared/page.txt", "the first page")
    .file("users.htpasswd", format!("alice:{SECRET}\nbob:{SECRET}\n"))
}

/// The field that says who one of them is.
fn credentials(user: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{user}:secret")))
}

/// Sends a request (`PUT /dav/a`) with these fields, and reads the answer.
#[track_caller]
fn ask(client: &mut Client, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Response {
    let body = body.as_ref();
    let mut head = format!("{request} HTTP/1.1\r\nHost: test\r\n");
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    let (method, _) = request.split_once(' ').expect("a method and a path");
    if !body.is_empty() || method == "PUT" {
        let length = format!("Content-Length: {}\r\n", body.len());
        head.push_str(&length);
    }
    client.send([head.as_bytes(), b"\r\n", body].concat());
    if method == "HEAD" { client.response_to_head() } else { client.response() }
}

/// The status of the answer.
#[track_caller]
fn status(client: &mut Client, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> u16 {
    ask(client, request, fields, body).status
}

/// What a multistatus says of one resource.
#[derive(Debug)]
struct Told {
    /// The path, as it is written there.
    href: String,
    /// The status of the whole of it.
    status: Option<u16>,
    /// Its properties, each with its status.
    props: Vec<(u16, Element)>,
}

impl Told {
    fn status_of(&self, name: &str) -> Option<u16> {
        self.props.iter().find(|(_, prop)| prop.name == name).map(|(status, _)| *status)
    }

    fn prop(&self, name: &str) -> Option<&Element> {
        self.props.iter().find(|(status, prop)| *status == 200 && prop.name == name).map(|(_, prop)| prop)
    }

    /// The text of a property that it has.
    #[track_caller]
    fn text(&self, name: &str) -> &str {
        &self.prop(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).text
    }

    fn is_collection(&self) -> bool {
        self.prop("DAV:resourcetype").is_some_and(|of| of.child("DAV:collection").is_some())
    }
}

/// Reads a multistatus, which must be one by its status, its type and its form.
#[track_caller]
fn multistatus(answer: &Response) -> Vec<Told> {
    assert_eq!(answer.status, 207, "{}", answer.text());
    let kind = answer.header("content-type").unwrap_or_default().to_lowercase().replace([' ', '"'], "");
    assert!(matches!(kind.as_str(), "application/xml;charset=utf-8" | "text/xml;charset=utf-8"), "{kind}");
    let root = Element::parse(&answer.text());
    assert_eq!(root.name, "DAV:multistatus");
    let responses = root.children.iter().filter(|child| child.name == "DAV:response");
    responses.map(told).collect()
}

#[track_caller]
fn told(response: &Element) -> Told {
    let [href] = response.all("DAV:href")[..] else { panic!("one href in {response:?}") };
    let mut props = Vec::new();
    for propstat in response.all("DAV:propstat") {
        let status = status_in(propstat).expect("a status in each propstat");
        let prop = propstat.child("DAV:prop").expect("a prop in each propstat");
        props.extend(prop.children.iter().map(|prop| (status, prop.clone())));
    }
    Told { href: href.text.clone(), status: status_in(response), props }
}

fn status_in(element: &Element) -> Option<u16> {
    let status = element.child("DAV:status")?.text.strip_prefix("HTTP/1.1 ").expect("a status line");
    Some(status.split(' ').next()?.parse().expect("a code"))
}

/// The condition that an answer names (RFC 4918 §16), in the namespace `DAV:`.
#[track_caller]
fn condition(answer: &Response) -> String {
    let error = Element::parse(&answer.text());
    assert_eq!(error.name, "DAV:error", "{}", answer.text());
    error.children.first().map(|condition| condition.name.clone()).unwrap_or_default()
}

/// The body of a PROPFIND for some properties: their names, with their namespaces in front.
fn prop_body(names: &[&str]) -> String {
    let prop = |name: &&str| {
        let (namespace, local) = name.split_at(name.rfind([':', '#', '/']).expect("a namespace") + 1);
        format!("<x:{local} xmlns:x=\"{namespace}\"/>")
    };
    let props = names.iter().map(prop).collect::<Vec<_>>().concat();
    format!("<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><prop>{props}</prop></propfind>")
}

/// What a resource has of some properties.
#[track_caller]
fn find(client: &mut Client, path: &str, names: &[&str]) -> Told {
    let answer = ask(client, &format!("PROPFIND {path}"), &["Depth: 0"], prop_body(names));
    let mut all = multistatus(&answer);
    assert_eq!(all.len(), 1, "{}", answer.text());
    all.remove(0)
}

/// Sets a property of [`OURS`] to some XML; returns the status it got.
#[track_caller]
fn set(client: &mut Client, path: &str, fields: &[&str], name: &str, value: &str) -> u16 {
    let body = format!(
        "<propertyupdate xmlns=\"DAV:\" xmlns:o=\"{OURS}\"><set><prop><o:{name}>{value}</o:{name}></prop></set></propertyupdate>"
    );
    let answer = ask(client, &format!("PROPPATCH {path}"), fields, body);
    if answer.status != 207 {
        return answer.status;
    }
    multistatus(&answer).remove(0).status_of(&format!("{OURS}{name}")).expect("what became of it")
}

/// Locks a resource; the token, as it is in fields: `<...>`.
#[track_caller]
fn lock(client: &mut Client, path: &str, fields: &[&str]) -> String {
    lock_by(client, path, fields, EXCLUSIVE)
}

#[track_caller]
fn lock_by(client: &mut Client, path: &str, fields: &[&str], body: &str) -> String {
    let answer = ask(client, &format!("LOCK {path}"), fields, body);
    assert!(matches!(answer.status, 200 | 201), "LOCK {path}: {} {}", answer.status, answer.text());
    answer.header("lock-token").expect("a token for a new lock").to_owned()
}

/// The field that submits a token.
fn by(token: &str) -> String {
    format!("If: ({token})")
}

/// The field that names the lock that is to end.
fn lock_token(token: &str) -> String {
    format!("Lock-Token: {token}")
}

/// The field that says where to.
fn destination(path: &str) -> String {
    format!("Destination: http://test{path}")
}

/// The active locks of a resource.
#[track_caller]
fn active_locks(client: &mut Client, path: &str) -> Vec<Element> {
    let told = find(client, path, &["DAV:lockdiscovery"]);
    let discovery = told.prop("DAV:lockdiscovery").expect("a live property");
    discovery.all("DAV:activelock").into_iter().cloned().collect()
}

/// The names in the directory that is shared, but for what the server keeps there for itself.
fn shared_names(site: &Site) -> Vec<String> {
    names(&site.at("shared")).into_iter().filter(|name| !name.starts_with(".medusa")).collect()
}

/// Sees that nothing is left of what was begun and not ended.
#[track_caller]
fn no_debris(site: &Site) {
    assert_eq!(names(&site.at("shared/.medusa-versions/unfinished")), [""; 0]);
}

/// The sizes of the versions that are kept of a file.
#[track_caller]
fn versions(server: &Server, path: &str) -> Vec<u64> {
    let sizes = server.eval(&format!(
        "local sizes = {{}} for _, version in medusa.versions.list('shared', '{path}') do table.insert(sizes, tostring(version.size)) end \
         return table.concat(sizes, ' ')"
    ));
    sizes.trim_matches('"').split_whitespace().map(|size| size.parse().expect("a size")).collect()
}
