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

/// The most connections without a login.
const MAX_PENDING: usize = 64;

/// The most of them from one address.
const MAX_PENDING_FROM_ONE: usize = 16;

/// The most connections with a login. Each may have several sessions, which are bounded by themselves.
const MAX_LOGGED_IN: usize = 32;

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
    logged_in: usize,
    remembered: VecDeque<(Caller, Instant)>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    caller: Caller,
    trusted: bool,
    cut: Cut,
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
    logged_in: bool,
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
        Some(Place { admission: self.clone(), caller, number, logged_in: false })
    }
}

impl AdmissionTable {
    fn close(&mut self, at: usize) {
        self.pending.remove(at).cut.now();
    }
}

impl Place {
    /// Somebody has logged in. Whether there is room for that.
    pub(crate) fn log_in(&mut self, now: Instant) -> bool {
        let table = &mut *self.admission.0.borrow_mut();
        table.pending.retain(|known| known.number != self.number);
        if self.logged_in || table.logged_in >= MAX_LOGGED_IN {
            return self.logged_in;
        }
        self.logged_in = true;
        table.logged_in += 1;
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
        table.logged_in -= usize::from(self.logged_in);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{IpAddr, TcpListener, TcpStream};

    use super::*;

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
        let mut admin = enter(address(9999), cut).expect("room");
        assert!(admin.log_in(now));
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
