//! Connections that nobody has logged in on yet.
//!
//! **Invariant:** there are at most [`MAX_PENDING`] of them, and [`MAX_FROM_ONE`] from one address. Where there would be more,
//! the oldest is closed, for who means to log in does so soon; but none from where somebody has logged in of late, or from
//! this machine, for the sake of one from elsewhere.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_net::clients::ClientPrefix;

/// The most connections without a login.
pub(super) const MAX_PENDING: usize = 64;

/// The most of them from one address.
pub(super) const MAX_FROM_ONE: usize = 16;

/// The most connections with a login. Each may have several sessions, which are bounded by themselves.
const MAX_LOGGED_IN: usize = 32;

/// The most addresses of logins that are remembered, and the time for which they are.
const MAX_REMEMBERED: usize = 256;
const REMEMBERED: Duration = Duration::from_hours(24 * 7);

/// The connections without a login, and where there have been some.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission(Rc<RefCell<AdmissionTable>>);

#[derive(Debug, Default)]
struct AdmissionTable {
    last: u64,
    /// The oldest first.
    pending: Vec<Pending>,
    logged_in: usize,
    remembered: VecDeque<(ClientPrefix, Instant)>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    client: ClientPrefix,
    trusted: bool,
    cut: Cut,
}

/// The means to close a connection, whatever its protocol is at.
#[derive(Debug, Clone)]
pub(super) struct Cut(Arc<TcpStream>);

impl Cut {
    pub(super) fn of(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self(Arc::new(stream.try_clone()?)))
    }

    pub(super) fn now(&self) {
        // It is closed already.
        let _closed = self.0.shutdown(Shutdown::Both);
    }
}

/// The place of a connection.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    client: ClientPrefix,
    number: u64,
    logged_in: bool,
}

impl Admission {
    /// A place for a connection that `cut` closes; none if all others there are come before it.
    pub(super) fn enter(&self, address: IpAddr, cut: Cut, now: Instant) -> Option<Place> {
        let table = &mut *self.0.borrow_mut();
        let client = ClientPrefix::host(address);
        table.remembered.retain(|(_, at)| now.duration_since(*at) < REMEMBERED);
        let trusted = address.to_canonical().is_loopback()
            || table.remembered.iter().any(|(known, _)| *known == client);
        let theirs = |known: &Pending| known.client == client;
        if table.pending.iter().filter(|known| theirs(known)).count() >= MAX_FROM_ONE {
            table.close(table.pending.iter().position(theirs)?);
        } else if table.pending.len() >= MAX_PENDING {
            let oldest = table.pending.iter().position(|known| !known.trusted);
            table.close(oldest.or_else(|| trusted.then_some(0))?);
        }
        table.last += 1;
        let number = table.last;
        table.pending.push(Pending { number, client, trusted, cut });
        Some(Place { admission: self.clone(), client, number, logged_in: false })
    }
}

impl AdmissionTable {
    fn close(&mut self, at: usize) {
        self.pending.remove(at).cut.now();
    }
}

impl Place {
    /// Somebody has logged in. Whether there is room for that.
    pub(super) fn log_in(&mut self, now: Instant) -> bool {
        let table = &mut *self.admission.0.borrow_mut();
        table.pending.retain(|known| known.number != self.number);
        if self.logged_in || table.logged_in >= MAX_LOGGED_IN {
            return self.logged_in;
        }
        self.logged_in = true;
        table.logged_in += 1;
        table.remembered.retain(|(known, _)| *known != self.client);
        if table.remembered.len() >= MAX_REMEMBERED {
            table.remembered.pop_front();
        }
        table.remembered.push_back((self.client, now));
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
    use std::net::TcpListener;

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
        let enter = |address, cut| admission.enter(address, cut, now);
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
        let known: Vec<_> = (0..MAX_FROM_ONE)
            .map(|_| {
                let (client, cut) = pair();
                (client, enter(address(9999), cut).expect("known from before"))
            })
            .collect();
        assert!(strangers[..MAX_FROM_ONE].iter().all(|(client, _)| is_closed(client)));
        assert!(!is_closed(&strangers[MAX_FROM_ONE].0));
        let (client, cut) = pair();
        let _place = enter(address(5000), cut).expect("in place of the oldest stranger");
        assert!(is_closed(&strangers[MAX_FROM_ONE].0) && !is_closed(&client));
        assert!(known.iter().all(|(client, _)| !is_closed(client)));
    }

    #[test]
    fn one_address_has_some_of_them_alone() {
        let (admission, now) = (Admission::default(), Instant::now());
        let places: Vec<_> = (0..=MAX_FROM_ONE)
            .map(|_| {
                let (client, cut) = pair();
                (client, admission.enter([127, 0, 0, 1].into(), cut, now).expect("room"))
            })
            .collect();
        assert!(is_closed(&places[0].0) && !is_closed(&places[1].0));
        assert_eq!(admission.0.borrow().pending.len(), MAX_FROM_ONE);
        drop(places);
        assert!(admission.0.borrow().pending.is_empty());
    }
}
