//! Serves a directory in the home of each of the system's users: `/~alice/` is what is in Alice's `public_html`.
//!
//! Who has no such directory, who is no person (root, the accounts of services), and who does not exist is not there, all in the same way.
//! The system is asked who somebody is beside the workers, for it may ask others (LDAP), and remembered for a minute.
//!
//! **Invariant:** nothing is served that does not belong to the user it is asked of. The owner is that of the file that was opened, so no
//! link or rename gets between the look and the opening; and the kernel resolves each path beneath the directory.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use medusa_proto::status::Status;
use nix::unistd::User;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::files::{Files, FilesError, FilesOptions};
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::request::Request;
use crate::response::Response;

/// The wildcard of the mount that has the user's name.
const WILDCARD: &str = "user";
/// The longest name of a user, in bytes: `useradd` allows 32, directories of other systems more.
const MAX_NAME: usize = 64;
/// The time for which the system is not asked again who somebody is.
const KNOWN_FOR: Duration = Duration::from_mins(1);
/// The users whose files are kept in memory: their share of it is what the whole of [`FilesOptions::cache`] is divided by.
const USERS: usize = 64;
/// The names that are known to be nobody's.
const NOBODIES: usize = 1024;
/// The users that the system is asked about at a time, by all workers.
static LOOKUPS: Semaphore = Semaphore::const_new(8);

/// The least number of a user that is a person, where the system does not say: see [`least_uid`].
const LEAST_UID: u32 = 1000;
/// The number of `nobody`, whom files belong to that are nobody's.
const NOBODY: u32 = 65_534;

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HomeOwner {
    uid: u32,
    home: PathBuf,
}

/// What is known of a name.
#[derive(Debug)]
struct KnownUser {
    owner: HomeOwner,
    files: Arc<Files>,
    looked: Instant,
}

#[derive(Debug, Default)]
struct KnownUsers {
    users: HashMap<Box<str>, KnownUser>,
    nobodies: HashMap<Box<str>, Instant>,
}

/// The reason why there can be no such handler.
#[derive(Debug, thiserror::Error)]
pub enum UserDirsError {
    /// It is no path below a home.
    #[error("{0:?} is no directory below a home; give a relative path without `..`, as \"public_html\"")]
    Directory(String),
    /// An option makes no sense.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// The handler: GET and HEAD for the files in a directory of each user's home. It is mounted where `{user}` is in the path.
#[derive(Debug)]
pub struct UserDirs {
    directory: PathBuf,
    options: FilesOptions,
    known: Mutex<KnownUsers>,
    /// Asks the system.
    find: fn(&str) -> io::Result<Option<HomeOwner>>,
    told: AtomicBool,
}

impl UserDirs {
    /// Serves the directory at this path below the home of each user.
    ///
    /// # Errors
    ///
    /// The path or an option makes no sense.
    pub fn new(directory: &str, options: FilesOptions) -> Result<Self, UserDirsError> {
        let is_plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        if !directory.split('/').all(is_plain) {
            return Err(UserDirsError::Directory(directory.to_owned()));
        }
        options.check()?;
        let options = FilesOptions { cache: options.cache / USERS, ..options };
        let (known, told) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { directory: directory.into(), options, known, find, told })
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let Some(name) = request.head.params.get(WILDCARD) else {
            if !self.told.swap(true, Relaxed) {
                tracing::warn!(
                    path = %request.head.path(),
                    "user_dirs is mounted where no `{{user}}` is in the pattern, and serves nobody there: mount it at `/~{{user}}/`"
                );
            }
            return Ok(Response::page(StatusCode::NOT_FOUND));
        };
        match std::str::from_utf8(name).ok().filter(|name| is_name(name)) {
            Some(name) => match self.files(name).await? {
                Some(files) => files.handle(request).await,
                None => Ok(Response::page(StatusCode::NOT_FOUND)),
            },
            None => Ok(Response::page(StatusCode::NOT_FOUND)),
        }
    }

    /// The files of a user, if there is such a user.
    async fn files(&self, name: &str) -> Result<Option<Arc<Files>>, HandlerError> {
        if let Some(known) = self.known.lock().get(name) {
            return Ok(known);
        }
        // Never closed.
        let permit = LOOKUPS.acquire().await;
        // Whoever was before us may have asked the same.
        if let Some(known) = self.known.lock().get(name) {
            return Ok(known);
        }
        let (find, asked) = (self.find, name.to_owned());
        let looked = Instant::now();
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            find(&asked)
        });
        let found = found.await.map_err(HandlerError::internal)?.map_err(HandlerError::unavailable)?;
        let Some(owner) = found else {
            self.known.lock().put_nobody(name, looked);
            return Ok(None);
        };
        let make =
            |owner: &HomeOwner| Files::of_user(&owner.home, &self.directory, owner.uid, self.options.clone());
        Ok(Some(self.known.lock().put(name, owner, looked, make)))
    }
}

impl KnownUsers {
    /// The files of somebody who is known, none for nobody; `None` if the system has to be asked.
    #[expect(clippy::option_option, reason = "that nobody has this name is known, too")]
    fn get(&self, name: &str) -> Option<Option<Arc<Files>>> {
        if let Some(user) = self.users.get(name) {
            return (user.looked.elapsed() < KNOWN_FOR).then(|| Some(Arc::clone(&user.files)));
        }
        self.nobodies.get(name).is_some_and(|looked| looked.elapsed() < KNOWN_FOR).then_some(None)
    }

    /// Knows who that is; whose home has not changed keeps what is in memory of it.
    fn put(
        &mut self,
        name: &str,
        owner: HomeOwner,
        looked: Instant,
        make: impl FnOnce(&HomeOwner) -> Files,
    ) -> Arc<Files> {
        self.nobodies.remove(name);
        if let Some(user) = self.users.get_mut(name).filter(|user| user.owner == owner) {
            user.looked = looked;
            return Arc::clone(&user.files);
        }
        make_room(&mut self.users, USERS, |user| user.looked);
        let files = Arc::new(make(&owner));
        self.users.insert(name.into(), KnownUser { owner, files: Arc::clone(&files), looked });
        files
    }

    fn put_nobody(&mut self, name: &str, looked: Instant) {
        self.users.remove(name);
        make_room(&mut self.nobodies, NOBODIES, |looked| *looked);
        self.nobodies.insert(name.into(), looked);
    }
}

/// Forgets the name that was looked up longest ago, if there are as many as may be.
fn make_room<T>(known: &mut HashMap<Box<str>, T>, most: usize, looked: impl Fn(&T) -> Instant) {
    if known.len() >= most
        && let Some((oldest, _)) = known.iter().min_by_key(|(_, known)| looked(known))
    {
        let oldest = oldest.clone();
        known.remove(&oldest);
    }
}

impl Handler for UserDirs {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn status(&self) -> Status {
        let known = self.known.lock();
        Status::new("handler.user_dirs", self.directory.to_string_lossy())
            .gauge("users", known.users.len() as u64)
            .gauge("unknown_names", known.nobodies.len() as u64)
    }
}

/// Whether it can be the name of a user at all: what cannot is not asked for.
fn is_name(name: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= MAX_NAME
        && name.bytes().all(is_right)
        && name.bytes().next().is_some_and(|first| first != b'.' && first != b'-')
}

/// The user of that name, if it is a person with a home.
fn find(name: &str) -> io::Result<Option<HomeOwner>> {
    let user = User::from_name(name).map_err(io::Error::from)?;
    let owner = user.map(|user| HomeOwner { uid: user.uid.as_raw(), home: user.dir });
    Ok(owner.filter(|owner| is_person(owner, least_uid(Path::new("/etc/login.defs")))))
}

fn is_person(owner: &HomeOwner, least: u32) -> bool {
    // Those of containers and of systemd's services, too, are above what fits into 16 bits, and have no home.
    owner.uid >= least.max(1)
        && owner.uid != NOBODY
        && owner.uid != NOBODY + 1
        && owner.uid != u32::MAX
        && owner.home.is_absolute()
        && owner.home != Path::new("/")
}

/// The least number of a user that is a person: `UID_MIN` of `/etc/login.defs`.
fn least_uid(definitions: &Path) -> u32 {
    let text = std::fs::read_to_string(definitions).unwrap_or_default();
    let defined = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("UID_MIN")).then(|| words.next()?.parse().ok())?
    });
    defined.unwrap_or(LEAST_UID)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use http::Method;
    use tempfile::TempDir;

    use super::*;
    use crate::body::Body;
    use crate::handlers::files::tests::{collect, request};
    use crate::router::Params;

    async fn get(dirs: &UserDirs, user: &str, tail: &str) -> (u16, String) {
        let mut request = request(Method::GET, &format!("/{tail}"), &[]);
        let head = Arc::get_mut(&mut request.head).expect("ours alone");
        head.params = Params::from_iter([("user", user.as_bytes())]);
        let response = dirs.handle(request).await.expect("an answer");
        let status = response.status.as_u16();
        let body: Body = response.body;
        (status, String::from_utf8_lossy(&collect(body).await.expect("a body")).into_owned())
    }

    /// Who runs the test, in a home of its own.
    fn home() -> (TempDir, HomeOwner) {
        let dir = TempDir::new().expect("a directory");
        fs::create_dir_all(dir.path().join("home/public_html/sub")).expect("made");
        fs::write(dir.path().join("home/public_html/index.html"), "ada's page").expect("written");
        fs::write(dir.path().join("home/private"), "ada's own").expect("written");
        fs::write(dir.path().join("secret"), "secret").expect("written");
        let uid = rustix::process::geteuid().as_raw();
        let owner = HomeOwner { uid, home: dir.path().join("home") };
        (dir, owner)
    }

    fn dirs(options: FilesOptions, find: fn(&str) -> io::Result<Option<HomeOwner>>) -> UserDirs {
        UserDirs { find, ..UserDirs::new("public_html", options).expect("sound options") }
    }

    fn uncached() -> FilesOptions {
        FilesOptions { cache: 0, listing: true, ..FilesOptions::default() }
    }

    static HOMES: Mutex<Vec<(String, HomeOwner)>> = Mutex::new(Vec::new());

    /// Finds those who were put into [`HOMES`].
    #[expect(clippy::unnecessary_wraps, reason = "the system may fail, which this stands in for")]
    fn find_in_homes(name: &str) -> io::Result<Option<HomeOwner>> {
        Ok(HOMES.lock().iter().find(|(known, _)| known == name).map(|(_, owner)| owner.clone()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_user_has_files_and_nobody_else_any() {
        let (dir, owner) = home();
        HOMES.lock().push(("ada".to_owned(), owner));
        let dirs = dirs(uncached(), find_in_homes);
        assert_eq!(get(&dirs, "ada", "").await, (200, "ada's page".to_owned()));
        for (user, tail) in [
            ("eve", ""),
            ("ada", "nothing"),
            ("ADA", ""),
            ("..", ""),
            ("", ""),
            (".ada", ""),
            ("-ada", ""),
            ("ada/..", ""),
            ("ada\0", ""),
            (&"a".repeat(65), ""),
            ("ada", "../private"),
            ("ada", "%2e%2e/private"),
        ] {
            assert_eq!(get(&dirs, user, tail).await.0, 404, "{user:?} {tail}");
        }
        let public = dir.path().join("home/public_html");
        symlink("../private", public.join("up")).expect("a link");
        symlink(dir.path().join("secret"), public.join("out")).expect("a link");
        symlink("index.html", public.join("in")).expect("a link");
        assert_eq!(get(&dirs, "ada", "in").await.0, 200);
        for tail in ["up", "out"] {
            assert_eq!(get(&dirs, "ada", tail).await.0, 404, "{tail}");
        }
        // Whoever takes the directory away is not there any more, as if there were no such user.
        fs::rename(&public, dir.path().join("home/other")).expect("renamed");
        assert_eq!(get(&dirs, "ada", "").await.0, 404);
        symlink("../outside", &public).expect("a link");
        fs::rename(dir.path().join("home/other"), dir.path().join("outside")).expect("renamed");
        assert_eq!(get(&dirs, "ada", "").await.0, 404, "it leads out of the home");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_belongs_to_others_is_not_there() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: only root may give files away");
        }
        let (dir, owner) = home();
        let public = dir.path().join("home/public_html");
        let owner = HomeOwner { uid: 4711, ..owner };
        HOMES.lock().push(("bob".to_owned(), owner));
        let dirs = dirs(uncached(), find_in_homes);
        assert_eq!(get(&dirs, "bob", "").await.0, 404, "the directory is another's");
        chown(&public, Some(4711), None).expect("given");
        assert_eq!(get(&dirs, "bob", "index.html").await.0, 404, "the file is another's");
        chown(public.join("index.html"), Some(4711), None).expect("given");
        assert_eq!(get(&dirs, "bob", "").await.0, 200);
        // A second name for another's file.
        fs::hard_link(dir.path().join("secret"), public.join("linked")).expect("linked");
        assert_eq!(get(&dirs, "bob", "linked").await.0, 404);
        fs::remove_file(public.join("index.html")).expect("removed");
        let (status, listing) = get(&dirs, "bob", "").await;
        assert_eq!((status, listing.contains("linked")), (200, false), "nor is it listed");
    }

    #[test]
    fn a_person_has_a_number_and_a_home() {
        let owner = |uid, home: &str| HomeOwner { uid, home: home.into() };
        assert!(is_person(&owner(1000, "/home/ada"), 1000));
        for (uid, home) in [
            (0, "/root"),
            (999, "/var/lib/x"),
            (NOBODY, "/nonexistent"),
            (NOBODY + 1, "/x"),
            (u32::MAX, "/x"),
            (1000, "/"),
            (1000, ""),
            (1000, "home"),
        ] {
            assert!(!is_person(&owner(uid, home), 1000), "{uid} {home}");
        }
        assert!(!is_person(&owner(0, "/root"), 0), "root never is one");
        let dir = TempDir::new().expect("a directory");
        let definitions = dir.path().join("login.defs");
        assert_eq!(least_uid(&definitions), 1000);
        fs::write(&definitions, "# UID_MIN 1\nUID_MIN\t\t  500\nUID_MAX 60000\n").expect("written");
        assert_eq!(least_uid(&definitions), 500);
        assert!(find("root").expect("the system answers").is_none());
        assert!(find("no-such-user-here").expect("the system answers").is_none());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = KnownUsers::default();
        let owner = |uid| HomeOwner { uid, home: "/home".into() };
        let make = |owner: &HomeOwner| Files::of_user(&owner.home, Path::new("x"), owner.uid, uncached());
        let start = Instant::now();
        for n in 0..2 * USERS as u32 {
            known.put(&n.to_string(), owner(n), start + Duration::from_nanos(n.into()), make);
        }
        assert_eq!(known.users.len(), USERS);
        assert!(known.get("0").is_none() && known.get("127").is_some_and(|files| files.is_some()));
        let same = known.put("127", owner(127), start, make);
        let other = known.put("127", owner(5), start, make);
        assert!(!Arc::ptr_eq(&same, &other), "it is somebody else now");
        for n in 0..2 * NOBODIES {
            known.put_nobody(&format!("x{n}"), start + Duration::from_nanos(n as u64));
        }
        assert_eq!(known.nobodies.len(), NOBODIES);
        known.put_nobody("127", start);
        assert!(known.get("127").is_some_and(|files| files.is_none()));
    }

    #[test]
    fn a_directory_is_below_the_home() {
        for directory in ["", "/etc", "..", "a/../b", "a//b", "./a", "a\0"] {
            let refused = UserDirs::new(directory, FilesOptions::default());
            assert!(matches!(refused, Err(UserDirsError::Directory(_))), "{directory:?}");
        }
        assert!(UserDirs::new("www/public", FilesOptions::default()).is_ok());
    }
}
