// Included before every C++ file of Luau (`.cargo/config.toml`): two of its functions are answered by Rust instead,
// in `src/luau.rs`, which says why.
#include <stddef.h>
#ifdef __cplusplus
// Luau's own hash becomes a weak definition of this name; the strong one is ours.
extern "C" __attribute__((weak, visibility("hidden"))) unsigned int medusa_luau_hash(const char* str, size_t len);
#define luaS_hash medusa_luau_hash
// Luau's own keeps this name; who calls it from outside gets ours.
#define lua_resetthread luau_resetthread_raw
#endif
