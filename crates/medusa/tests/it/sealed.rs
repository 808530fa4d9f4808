//! What belongs to the host cannot be changed by a script: the next request, and everybody else's, would meet it.

use medusa_testkit::{Server, Site, WebSocket};

use super::support::{WEB, start};

/// Goes through whatever is reachable and tries to change it. `owned` is what the host keeps for everyone; the rest, such
/// as a list of mounts, is made for who asks and may be changed, but not by way of a metatable.
const WALK: &str = r"
local seen, found, looked

local function try(path, what, ...)
    if pcall(...) then table.insert(found, `{path}: {what}`) end
end

local function visit(value, path, owned)
    local kind = type(value)
    if kind ~= 'table' and kind ~= 'userdata' and kind ~= 'string' then return end
    if kind ~= 'string' then
        if seen[value] then return end
        seen[value] = true
    end
    looked += 1
    local meta = getmetatable(value)
    if type(meta) == 'table' then
        try(path, 'its metatable can be changed', rawset, meta, 'planted', true)
        try(path, 'its metatable can be given another', setmetatable, meta, {})
        visit(meta, `{path}<metatable>`, true)
    elseif meta ~= nil and kind == 'table' then
        try(path, 'it can be given another metatable', setmetatable, value, {})
    end
    if kind == 'table' then
        if owned then
            try(path, 'it can be changed', rawset, value, 'planted', true)
            try(path, 'it can be given a metatable', setmetatable, value, {})
            try(path, 'it can be emptied', table.clear, value)
        end
        for key, inner in next, value do
            visit(inner, `{path}.{tostring(key)}`, owned)
        end
    end
end

-- `made` are objects by name. Gives what was found, one a line, and at last how many things were looked at.
return function(made)
    seen, found, looked = {}, {}, 0
    visit('', 'string', true)
    local libraries = { medusa = medusa, _G = _G, string = string, table = table, math = math, coroutine = coroutine,
        bit32 = bit32, utf8 = utf8, os = os, buffer = buffer, debug = debug, vector = vector }
    for name, library in libraries do
        visit(library, name, true)
    end
    for name, value in made do
        visit(value, name, false)
    end
    table.insert(found, tostring(looked))
    return table.concat(found, '\n')
end
";

/// The objects that a handler of either kind can have.
const HANDLER: &str = r"function(req)
    local walk = require('walk')
    if req.path:find('ws$') then
        return req:websocket(function(ws) ws:send(walk { ws = ws, request = ws.request }) end)
    elseif req.path:find('events$') then
        return medusa.http.events(function(stream)
            stream:send(walk { stream = stream })
        end)
    elseif req.path:find('small$') then
        return 'fetched'
    end
    local fetched = medusa.fetch(`http://{req.host}:{req:arg('port')}/small`)
    local form = req:form()
    return walk {
        req = req, headers = req.headers, params = req.params, args = req.args, cookies = req.cookies,
        all = req:args_all('a'), form = form, file = form.file, fetched = fetched,
        shared = medusa.shared('sealed'), array = medusa.json.decode('[[]]'), object = medusa.json.decode('{}'),
        null = medusa.json.decode('null'), opening = req:websocket(function() end),
    }
end";

fn site() -> Site {
    let script = format!(
        "{WEB}
        local handler = {HANDLER}
        local mount = web:mount('/main/', handler)
        web:mount('/small', handler)
        web:mount('/file/', medusa.handler.script('handler.luau'))
        timer = medusa.every(1000, function() end)
        made = function()
            return {{
                web = web, mount = mount, mounts = web.mounts, site = site, servers = site.servers, logs = site.logs,
                timer = timer, files = medusa.handler.files('.'), log = medusa.log.tail(1), dns = medusa.dns.system(),
            }}
        end"
    );
    Site::script(&script).file("walk.luau", WALK).file("handler.luau", format!("return {HANDLER}"))
}

/// Nothing was found, though much was looked at.
#[track_caller]
fn expect_nothing(what: &str, text: &str) {
    let looked: u32 = text.parse().unwrap_or_else(|_more| panic!("{what}:\n{text}"));
    assert!(looked > 20, "{what}: only {looked} things");
}

#[track_caller]
fn walked(server: &Server, path: &str) -> String {
    let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--b--\r\n";
    let port = server.address().port();
    let mut client = server.connect();
    client.send(format!(
        "POST {path}?port={port}&a=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a=b\r\n\
         Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response().text()
}

#[test]
fn what_is_the_hosts_cannot_be_changed_by_a_script() {
    let site = site();
    let server = start(&site);
    for kind in ["/main", "/file"] {
        expect_nothing(kind, &walked(&server, &format!("{kind}/walk")));
        let mut ws = WebSocket::connect(server.address(), &format!("{kind}/ws"));
        expect_nothing("ws", &ws.text());
        let events = server.get(&format!("{kind}/events"));
        let events = events.text().trim().to_owned();
        expect_nothing("events", events.strip_prefix("data: ").unwrap_or(&events));
    }
    let result = server.eval("require('walk')(made())");
    expect_nothing("the script's objects", result.trim().trim_matches('"'));
}
