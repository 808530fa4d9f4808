//! Messages to the service manager, by the protocol of `sd_notify(3)`. Without one, nothing happens.

use sd_notify::NotifyState;

/// Tells that the server answers requests.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that it is ending.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the script runs anew, and when this is dropped, that the server is ready again: with the new site or, if
/// that failed or was cancelled, with the old.
#[derive(Debug)]
pub(super) struct Reloading(());

impl Reloading {
    pub(super) fn begin() -> Self {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_no_clock) => tell(&[NotifyState::Reloading]),
        }
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        ready();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told {state:?}");
    }
}
