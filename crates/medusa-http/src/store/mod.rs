//! What lies below a directory: how it is found, what tells one state of it from another, and how it is changed.
//!
//! - [`Root`] opens what a [`Target`] names, beneath the directory; [`FileStamp`] and [`tag`] tell states of files apart. Whoever
//!   serves files needs no more.
//! - [`Store`] changes them: a [`PagePath`] is a name that may be published, a [`Draft`] is content on its way in, and
//!   [`Store::publish`] puts it in the place of what was there, which [`versions`] keeps; [`tree`] finds, lists,
//!   makes and moves what is there, directories among it; [`shown`] opens contents and versions for authors. [`usage`] minds the quota.
//!   [`Edition`] has caches look again.
//!
//! **Invariants:**
//! - Nothing outside of the directory is changed: the kernel resolves each path beneath it, and where something is changed it follows
//!   no symbolic link and enters nothing that is mounted.
//! - A reader finds the old file or the new one, whole, whenever the process or the machine ends: content is on the disk before it has
//!   a name, and gets that in one step.
//! - Of two who change one path, the second sees what the first has done before it decides (`LOCKS`).
//! - All of it blocks, and is for the blocking pool, but for what [`Wait::Never`] is given to.

mod draft;
mod edition;
mod error;
mod page_path;
mod pool;
mod publish;
mod root;
mod shown;
pub(crate) mod tag;
mod target;
mod tree;
mod usage;
mod versions;

pub(crate) use medusa_files::FileStamp;

pub(crate) use draft::Draft;
pub(crate) use edition::Edition;
pub use error::StoreError;
pub use page_path::PagePath;
pub use pool::on_pool;
pub use publish::{Check, Current, Store, StoreId, StoreOptions};
pub use root::RootError;
pub(crate) use root::{FRESH, OpenedPath, Root, RootDirectory, Wait};
pub(crate) use shown::StoredContent;
pub(crate) use target::Target;
pub use tree::{Entries, Entry, Room};
pub use versions::Version;
