//! The *dead* properties of files and directories: what clients say of them, which means nothing to this server
//! ([RFC 4918 §4](https://www.rfc-editor.org/rfc/rfc4918#section-4)). They are in an `SQLite` database beside the versions of files, which is
//! made with the first of them.
//!
//! They belong to a path: what this handler moves, copies and removes takes them along. Whatever else changes the directory does not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::store::{Store, StoreError};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use rustix::fs::stat;

use crate::elements::PropertyChange;
use crate::xml::XmlName;

/// The most bytes of properties of one file or directory.
const MOST_OF_ONE: i64 = 64 * 1024;
/// The most pages of the database, of 4 KiB each: 64 MiB.
const MOST_PAGES: u32 = 16 * 1024;
/// The time to wait for another process that has the database.
const BUSY: Duration = Duration::from_secs(2);
const FILE: &str = "properties.db";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS properties (
    path TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (path, namespace, name)
) WITHOUT ROWID";

/// All below `?1`: `0` comes next to `/`. The root is the empty path, and has everything below it.
const BELOW: &str = "(?1 = '' AND path <> '' OR path >= ?1 || '/' AND path < ?1 || '0')";

/// The reason why properties cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PropertyError {
    /// There are as many as there may be: 507.
    #[error("there is no room for more properties")]
    Full,
    /// The directory for them cannot be used.
    #[error("the directory for properties cannot be used")]
    Store(#[from] StoreError),
    /// The database fails.
    #[error("the database of properties, `{}`, fails", .path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
}

/// A property that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadProperty {
    pub(crate) name: XmlName,
    /// The whole element.
    pub(crate) value: String,
}

/// The properties below one directory.
pub(crate) struct Properties {
    store: Arc<Store>,
    database: Mutex<Option<Database>>,
}

struct Database {
    connection: Connection,
    /// Which file it is: the directory can be replaced as a whole.
    identity: (u64, u64),
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Properties {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, database: Mutex::default() }
    }

    /// Those of each of the paths. Blocks.
    pub(crate) fn of(&self, paths: &[&str]) -> Result<Vec<Vec<DeadProperty>>, PropertyError> {
        let found = self.with(false, |connection| {
            let mut select = connection
                .prepare("SELECT namespace, name, value FROM properties WHERE path = ?1 ORDER BY 1, 2")?;
            let mut of_one = |path: &&str| {
                let rows = select.query_map([path], |row| {
                    let name = XmlName { namespace: row.get(0)?, local: row.get(1)? };
                    Ok(DeadProperty { name, value: row.get(2)? })
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            };
            paths.iter().map(&mut of_one).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(found.unwrap_or_else(|| paths.iter().map(|_| Vec::new()).collect()))
    }

    /// Makes all of these changes, or none. Blocks.
    pub(crate) fn change(&self, path: &str, changes: &[PropertyChange]) -> Result<(), PropertyError> {
        let adds = changes.iter().any(|change| change.value.is_some());
        let fits = self.with(adds, |connection| {
            let transaction = begin(connection)?;
            for PropertyChange { name: XmlName { namespace, local }, value } in changes {
                match value {
                    Some(value) => transaction.execute(
                        "INSERT OR REPLACE INTO properties VALUES (?1, ?2, ?3, ?4)",
                        params![path, namespace, local, value],
                    )?,
                    None => transaction.execute(
                        "DELETE FROM properties WHERE path = ?1 AND namespace = ?2 AND name = ?3",
                        params![path, namespace, local],
                    )?,
                };
            }
            let bytes: i64 = transaction.query_row(
                "SELECT coalesce(sum(length(namespace) + length(name) + length(value)), 0) FROM properties WHERE path = ?1",
                [path],
                |row| row.get(0),
            )?;
            if bytes > MOST_OF_ONE {
                return Ok(false);
            }
            transaction.commit()?;
            Ok(true)
        })?;
        if fits == Some(false) { Err(PropertyError::Full) } else { Ok(()) }
    }

    /// Removes those of a path, and of all below it. Blocks.
    pub(crate) fn remove(&self, path: &str) -> Result<(), PropertyError> {
        self.write(|transaction| {
            transaction.execute(&format!("DELETE FROM properties WHERE path = ?1 OR {BELOW}"), [path])?;
            Ok(())
        })
    }

    /// Removes those of a path and of all below it that `is_there` does not find any more. Blocks.
    pub(crate) fn sweep(&self, path: &str, is_there: impl Fn(&str) -> bool) -> Result<(), PropertyError> {
        self.write(|transaction| {
            let sql = format!("SELECT DISTINCT path FROM properties WHERE path = ?1 OR {BELOW}");
            let mut select = transaction.prepare(&sql)?;
            let paths = select.query_map([path], |row| row.get::<_, String>(0))?;
            let gone = paths.filter(|path| !path.as_deref().is_ok_and(&is_there));
            let gone = gone.collect::<rusqlite::Result<Vec<_>>>()?;
            for path in gone {
                transaction.execute("DELETE FROM properties WHERE path = ?1", [path])?;
            }
            Ok(())
        })
    }

    /// Has those of `from` be those of `to`, in the place of what `to` had; with all that is below if `is_deep`. Blocks.
    pub(crate) fn copy(&self, from: &str, to: &str, is_deep: bool) -> Result<(), PropertyError> {
        self.write(|transaction| {
            transaction.execute(&format!("DELETE FROM properties WHERE path = ?1 OR {BELOW}"), [to])?;
            let which = if is_deep { format!("path = ?1 OR {BELOW}") } else { "path = ?1".to_owned() };
            transaction.execute(
                &format!(
                    "INSERT INTO properties SELECT ?2 || substr(path, length(?1) + 1), namespace, name, value
                     FROM properties WHERE {which}"
                ),
                [from, to],
            )?;
            Ok(())
        })
    }

    /// Has those of `from`, and of all below it, be those of `to`. Blocks.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), PropertyError> {
        self.write(|transaction| {
            transaction.execute(&format!("DELETE FROM properties WHERE path = ?1 OR {BELOW}"), [to])?;
            transaction.execute(
                &format!(
                    "UPDATE properties SET path = ?2 || substr(path, length(?1) + 1) WHERE path = ?1 OR {BELOW}"
                ),
                [from, to],
            )?;
            Ok(())
        })
    }

    fn write(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), PropertyError> {
        let done = self.with(false, |connection| {
            let transaction = begin(connection)?;
            work(&transaction)?;
            transaction.commit()
        });
        done.map(drop)
    }

    /// Works with the database; `None` if there is none, and it is not to be made.
    fn with<T>(
        &self,
        make: bool,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, PropertyError> {
        let mut database = self.database.lock();
        let path = if make { self.store.kept_directory()? } else { self.store.kept_path() }.join(FILE);
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => PropertyError::Full,
            _ => PropertyError::Database { path: path.clone(), source },
        };
        let identity = || stat(&path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let found = identity();
        if database.as_ref().is_some_and(|open| Some(open.identity) != found) {
            *database = None;
        }
        if found.is_none() && !make {
            return Ok(None);
        }
        let open = if let Some(open) = &mut *database {
            open
        } else {
            let connection = open(&path).map_err(failed)?;
            let identity = identity().unwrap_or_default();
            database.insert(Database { connection, identity })
        };
        work(&mut open.connection).map(Some).map_err(failed)
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn open(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Of a database that was made elsewhere, nothing is believed.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update_and_check(None, "max_page_count", MOST_PAGES, |_| Ok(()))?;
    connection.execute(TABLE, [])?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn properties(directory: &TempDir) -> Properties {
        Properties::new(Arc::new(Store::open(directory.path()).unwrap()))
    }

    fn change(name: &str, value: Option<&str>) -> PropertyChange {
        let name = XmlName { namespace: "n".to_owned(), local: name.to_owned() };
        PropertyChange { name, value: value.map(str::to_owned) }
    }

    fn set(properties: &Properties, path: &str, value: &str) {
        properties.change(path, &[change("a", Some(value))]).unwrap();
    }

    fn values(properties: &Properties, paths: &[&str]) -> Vec<String> {
        let found = properties.of(paths).unwrap();
        found.into_iter().map(|of_one| of_one.into_iter().map(|one| one.value).collect()).collect()
    }

    #[test]
    fn nothing_is_made_before_there_is_something() {
        let directory = TempDir::new().unwrap();
        let properties = properties(&directory);
        assert_eq!(values(&properties, &["", "a"]), ["", ""]);
        properties.remove("").unwrap();
        properties.copy("a", "b", true).unwrap();
        properties.change("a", &[change("a", None)]).unwrap();
        assert!(!directory.path().join(".medusa-versions").join(FILE).exists());
        set(&properties, "a", "1");
        assert!(directory.path().join(".medusa-versions").join(FILE).exists());
    }

    #[test]
    fn changes_are_made_in_order_and_all_or_none() {
        let directory = TempDir::new().unwrap();
        let properties = properties(&directory);
        properties
            .change("p", &[change("a", Some("1")), change("a", Some("2")), change("b", Some("3"))])
            .unwrap();
        properties.change("p", &[change("b", None), change("b", None), change("c", Some("4"))]).unwrap();
        assert_eq!(values(&properties, &["p"]), ["24"]);
        let long = "x".repeat(MOST_OF_ONE as usize);
        let refused = properties.change("p", &[change("a", Some("5")), change("b", Some(&long))]);
        assert!(matches!(refused, Err(PropertyError::Full)), "{refused:?}");
        assert_eq!(values(&properties, &["p"]), ["24"]);
    }

    #[test]
    fn they_go_where_files_go() {
        let directory = TempDir::new().unwrap();
        let properties = properties(&directory);
        for path in ["", "a", "a/b", "a/b/c", "ab", "a0", "a-"] {
            set(&properties, path, path);
        }
        properties.copy("a", "x", true).unwrap();
        properties.copy("a", "y", false).unwrap();
        assert_eq!(values(&properties, &["x", "x/b", "x/b/c", "y", "y/b"]), ["a", "a/b", "a/b/c", "a", ""]);
        properties.rename("a", "x").unwrap();
        assert_eq!(
            values(&properties, &["a", "a/b", "x", "x/b/c", "ab", "a0"]),
            ["", "", "a", "a/b/c", "ab", "a0"]
        );
        properties.remove("x").unwrap();
        assert_eq!(
            values(&properties, &["x", "x/b/c", "ab", "a0", "a-", ""]),
            ["", "", "ab", "a0", "a-", ""]
        );
        properties.sweep("", |path| path == "ab").unwrap();
        assert_eq!(values(&properties, &["", "ab", "a0", "a-", "y"]), ["", "ab", "", "", ""]);
    }

    #[test]
    fn another_directory_in_its_place_has_others() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("public");
        std::fs::create_dir(&path).unwrap();
        let properties = Properties::new(Arc::new(Store::open(&path).unwrap()));
        set(&properties, "a", "1");
        std::fs::rename(&path, parent.path().join("before")).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(values(&properties, &["a"]), [""]);
        set(&properties, "a", "2");
        assert_eq!(values(&properties, &["a"]), ["2"]);
    }

    #[test]
    fn a_broken_database_is_told() {
        let directory = TempDir::new().unwrap();
        let kept = directory.path().join(".medusa-versions");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join(FILE), "this is no database, however long it is looked at").unwrap();
        let refused = properties(&directory).of(&["a"]);
        assert!(matches!(refused, Err(PropertyError::Database { .. })), "{refused:?}");
    }
}
