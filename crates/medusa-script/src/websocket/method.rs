//! `req:websocket`.

use medusa_http::websocket::{Accepted, HandshakeRefusal, Options, WebSocket};
use mlua::{Function, Lua, Table, Value};

use super::{HandshakeOutcome, Opening, PendingSession, Session, options, socket};
use crate::chunk::load;
use crate::options::function_argument;
use crate::sentinel;

/// The outcome of a handshake.
type Handshake = Result<(Accepted, WebSocket), HandshakeRefusal>;

/// Makes the method. `accept` is the handshake of a `req`.
pub(crate) fn method(
    lua: &Lua,
    accept: impl Fn(&Table, &Options) -> mlua::Result<Handshake> + 'static,
) -> mlua::Result<Function> {
    let (methods, next) = socket::methods(lua)?;
    let maker: Function = load(lua, include_str!("websocket.luau"), "=websocket", None)?.call((
        methods,
        next,
        sentinel::host_key(),
    ))?;
    lua.create_function(move |lua, (request, function, options): (Table, Value, Value)| {
        let function = function_argument(lua, "req:websocket", "what it runs", function)?;
        let options = options::parse(lua, options)?;
        let outcome = match accept(&request, &options)? {
            Err(refusal) => HandshakeOutcome::Refused(refusal),
            Ok((accepted, socket)) => {
                let session = Session { socket: socket.into(), function, request, maker: maker.clone() };
                HandshakeOutcome::Accepted(Box::new(PendingSession { accepted, session }))
            }
        };
        lua.create_userdata(Opening::new(outcome))
    })
}
