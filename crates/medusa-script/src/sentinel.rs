//! Values that no script can make: light userdata of addresses of the host's own.

use mlua::LightUserData;

static ADDRESSES: [u8; 2] = [0; 2];

fn at(address: &'static u8) -> LightUserData {
    LightUserData((&raw const *address).cast_mut().cast())
}

/// The value that a coroutine yields when the watchdog makes it: nothing else yields this, so that the prelude can
/// tell a preemption from a yield of the script's own.
pub(crate) fn preempted() -> LightUserData {
    at(&ADDRESSES[0])
}

/// The key of what the host keeps in a table that scripts may add fields of their own to: `req` and `ws`.
///
/// A script can come across the key by going through the table; what it then takes away or puts there is an error of its next
/// call, and nothing else.
pub(crate) fn host_key() -> LightUserData {
    at(&ADDRESSES[1])
}
