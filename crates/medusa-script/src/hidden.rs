//! What the host keeps in a table that scripts may add fields of their own to: `req` and `ws`.
//!
//! It is under a key that no script has a name for. A script can come across the key by going through the table; what it
//! then takes away or puts there is an error of its next call, and nothing else.

use mlua::LightUserData;

/// The key.
pub(crate) fn key() -> LightUserData {
    static KEY: u8 = 0;
    LightUserData((&raw const KEY).cast_mut().cast())
}
