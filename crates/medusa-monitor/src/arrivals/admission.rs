//! Connections that nobody has logged in on yet.
//!
//! **Invariant:** there are at most [`MAX_PENDING`] of them, and [`MAX_PENDING_FROM_ONE`] from one address. Where there would be more,
//! the oldest is closed, for who means to log in does so soon; but none from where somebody has logged in of late, or from
//! this machine, for the sake of one from elsewhere.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use super::Caller;
use crate::identity::Identity;

/// The most connections without a login.
const MAX_PENDING: usize = 64;

/// The most of them from one address.
const MAX_PENDING_FROM_ONE: usize = 16;

/// The most connections with a login; of [limited](crate::identity::Rights::are_limited) ones half as many. Each may have several sessions,
/// which are bounded by themselves.
const MAX_LOGGED_IN: usize = 32;

/// The most of them by one login; of a limited one half as many.
const MAX_BY_ONE: usize = 16;

/// The most addresses of logins that are remembered, and the time for which they are.
const MAX_REMEMBERED: usize = 256;
const REMEMBERED: Duration = Duration::from_hours(24 * 7);

/// The connections without a login, and where there have been some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Rc<RefCell<AdmissionTable>>);

#[derive(Debug, Default)]
struct AdmissionTable {
    last: u64,
    /// The oldest first.
    pending: Vec<Pending>,
    logged_in: Vec<LoggedIn>,
    remembered: VecDeque<(Caller, Instant)>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    caller: Caller,
    trusted: bool,
    cut: Cut,
}

#[derive(Debug)]
struct LoggedIn {
    number: u64,
    login: Arc<str>,
    is_limited: bool,
}

/// The means to close a connection, whatever its protocol is at.
#[derive(Debug, Clone)]
pub(crate) struct Cut(Arc<OwnedFd>);

impl Cut {
    pub(crate) fn of(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    pub(crate) fn now(&self) {
        // It is closed already.
        let _closed = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

/// The place of a connection.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    caller: Caller,
    number: u64,
}

impl Admission {
    /// A place for a connection that `cut` closes; none if all others there are come before it.
    pub(crate) fn enter(&self, caller: Caller, cut: Cut, now: Instant) -> Option<Place> {
        let table = &mut *self.0.borrow_mut();
        table.remembered.retain(|(_, at)| now.duration_since(*at) < REMEMBERED);
        let trusted = caller.is_here() || table.remembered.iter().any(|(known, _)| *known == caller);
        let theirs = |known: &Pending| known.caller == caller;
        if table.pending.iter().filter(|known| theirs(known)).count() >= MAX_PENDING_FROM_ONE {
            table.close(table.pending.iter().position(theirs)?);
        } else if table.pending.len() >= MAX_PENDING {
            let oldest = table.pending.iter().position(|known| !known.trusted);
            table.close(oldest.or_else(|| trusted.then_some(0))?);
        }
        table.last += 1;
        let number = table.last;
        table.pending.push(Pending { number, caller, trusted, cut });
        Some(Place { admission: self.clone(), caller, number })
    }
}

impl AdmissionTable {
    fn close(&mut self, at: usize) {
        self.pending.remove(at).cut.now();
    }
}

impl Place {
    /// Somebody has logged in. Whether there is room for that.
    pub(crate) fn log_in(&self, identity: &Identity, now: Instant) -> bool {
        let table = &mut *self.admission.0.borrow_mut();
        table.pending.retain(|known| known.number != self.number);
        let (login, is_limited) = (Arc::clone(&identity.login), identity.rights.are_limited());
        let most = |of_all| identity.rights.share(of_all);
        let count =
            |which: &dyn Fn(&LoggedIn) -> bool| table.logged_in.iter().filter(|one| which(one)).count();
        if count(&|one| one.login == login) >= most(MAX_BY_ONE)
            || count(&|one| !is_limited || one.is_limited) >= most(MAX_LOGGED_IN)
        {
            return false;
        }
        table.logged_in.push(LoggedIn { number: self.number, login, is_limited });
        table.remembered.retain(|(known, _)| *known != self.caller);
        if table.remembered.len() >= MAX_REMEMBERED {
            table.remembered.pop_front();
        }
        table.remembered.push_back((self.caller, now));
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let table = &mut *self.admission.0.borrow_mut();
        table.pending.retain(|known| known.number != self.number);
        table.logged_in.retain(|known| known.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{IpAddr, TcpListener, TcpStream};

    use super::*;
    use crate::identity::{FrontEnd, Role};

    /// Both ends of a connection, and what closes the second.
    fn pair() -> ([TcpStream; 2], Cut) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let cut = Cut::of(&server).expect("works");
        ([client, server], cut)
    }

    fn is_closed([client, _]: &[TcpStream; 2]) -> bool {
        let mut client = client;
        client.set_nonblocking(true).expect("works");
        matches!(client.read(&mut [0]), Ok(0))
    }

    fn address(number: usize) -> IpAddr {
        IpAddr::from([198, 51, (number / 256) as u8, (number % 256) as u8])
    }

    #[test]
    fn the_oldest_without_a_login_makes_room() {
        let (admission, now) = (Admission::default(), Instant::now());
        let enter = |address: IpAddr, cut| admission.enter(address.into(), cut, now);
        let (client, cut) = pair();
        let admin = enter(address(9999), cut).expect("room");
        assert!(admin.log_in(&login("admin", Role::Program), now));
        assert!(!is_closed(&client), "a login has its place");
        drop(admin);

        let mut strangers = Vec::new();
        for number in 0..MAX_PENDING {
            let (client, cut) = pair();
            strangers.push((client, enter(address(number), cut).expect("room")));
        }
        let known: Vec<_> = (0..MAX_PENDING_FROM_ONE)
            .map(|_| {
                let (client, cut) = pair();
                (client, enter(address(9999), cut).expect("known from before"))
            })
            .collect();
        assert!(strangers[..MAX_PENDING_FROM_ONE].iter().all(|(client, _)| is_closed(client)));
        assert!(!is_closed(&strangers[MAX_PENDING_FROM_ONE].0));
        let (client, cut) = pair();
        let _place = enter(address(5000), cut).expect("in place of the oldest stranger");
        assert!(is_closed(&strangers[MAX_PENDING_FROM_ONE].0) && !is_closed(&client));
        assert!(known.iter().all(|(client, _)| !is_closed(client)));
    }

    fn login(login: &str, role: Role) -> Identity {
        Identity::new(login, login, role, FrontEnd::Ssh(address(1)))
    }

    #[test]
    fn who_may_only_look_keeps_nobody_else_out() {
        let (admission, now) = (Admission::default(), Instant::now());
        let mut places = Vec::new();
        let mut log_in = |name: &str, role| {
            let (_client, cut) = pair();
            let place = admission.enter(address(1).into(), cut, now).expect("room");
            let is_in = place.log_in(&login(name, role), now);
            places.push(place);
            is_in
        };
        let looks = |log_in: &mut dyn FnMut(&str, Role) -> bool, name: &str| {
            (0..MAX_LOGGED_IN).filter(|_| log_in(name, Role::View)).count()
        };
        assert_eq!(looks(&mut log_in, "a"), MAX_BY_ONE / 2);
        assert_eq!(looks(&mut log_in, "b"), MAX_BY_ONE / 2);
        assert_eq!(looks(&mut log_in, "c"), 0, "half of all are taken");
        assert!((0..MAX_BY_ONE).all(|_| log_in("admin", Role::Program)));
        assert!(!log_in("admin", Role::Program));
        drop(places);
        assert!(admission.0.borrow().logged_in.is_empty());
    }

    #[test]
    fn one_address_has_some_of_them_alone() {
        let (admission, now) = (Admission::default(), Instant::now());
        let here = Caller::from(IpAddr::from([127, 0, 0, 1]));
        let places: Vec<_> = (0..=MAX_PENDING_FROM_ONE)
            .map(|_| {
                let (client, cut) = pair();
                (client, admission.enter(here, cut, now).expect("room"))
            })
            .collect();
        assert!(is_closed(&places[0].0) && !is_closed(&places[1].0));
        assert_eq!(admission.0.borrow().pending.len(), MAX_PENDING_FROM_ONE);
        drop(places);
        assert!(admission.0.borrow().pending.is_empty());
    }
}
