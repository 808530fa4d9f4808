//! The thread that looks at every VM.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::interrupt::Slot;
use super::meter::TICK;

/// The interval at which the watchdog looks while it sees no slice: the longest a slice may go unseen.
pub(super) const LOOK: Duration = Duration::from_millis(4);

/// The number of looks that are a tick apart after a slice was ended: who needed that once needs it again, and may
/// rest between.
const ALERT: u32 = 20;

/// The number of looks without any running script before the watchdog sleeps until it is woken.
const IDLE_LOOKS: u32 = 25;

/// The watchdog: the VMs it looks at, and its thread.
pub(super) struct Watchdog {
    slots: Mutex<Vec<Weak<Slot>>>,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

pub(super) fn watchdog() -> &'static Watchdog {
    static WATCHDOG: Watchdog =
        Watchdog { slots: Mutex::new(Vec::new()), parked: AtomicBool::new(false), thread: OnceLock::new() };
    &WATCHDOG
}

impl Watchdog {
    pub(super) fn watch(&'static self, slot: &Arc<Slot>) {
        let mut slots = self.slots.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(slot));
        drop(slots);
        self.thread.get_or_init(|| {
            let started = thread::Builder::new().name("medusa-watchdog".into()).spawn(|| watchdog().run());
            // Without its watchdog no script may run: there would be nothing to stop it.
            started.expect("the watchdog thread starts").thread().clone()
        });
    }

    pub(super) fn wake_if_parked(&self) {
        if self.parked.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut seen: Vec<(Weak<Slot>, u64)> = Vec::new();
        let (mut idle, mut alert) = (0, 0_u32);
        loop {
            thread::park_timeout(if alert > 0 { TICK } else { LOOK });
            alert = alert.saturating_sub(1);
            self.refresh(&mut seen);
            let mut running = false;
            for (slot, last) in &mut seen {
                let Some(slot) = slot.upgrade() else { continue };
                let now = slot.sequence();
                running |= now != *last;
                if now % 2 == 1 {
                    running = true;
                    alert = alert.max(1);
                    if now == *last {
                        slot.arm(now);
                        alert = ALERT;
                    }
                }
                *last = now;
            }
            idle = if running { 0 } else { idle + 1 };
            if idle >= IDLE_LOOKS {
                self.sleep(&seen);
                idle = 0;
            }
        }
    }

    /// Takes in VMs that came and drops those that went.
    fn refresh(&self, seen: &mut Vec<(Weak<Slot>, u64)>) {
        let slots = self.slots.lock();
        seen.retain(|(slot, _)| slot.strong_count() > 0);
        for slot in slots.iter() {
            if slot.strong_count() > 0 && !seen.iter().any(|(known, _)| known.ptr_eq(slot)) {
                seen.push((Weak::clone(slot), 0));
            }
        }
    }

    /// Sleeps until a slice starts. Told apart from one that just started by the order of the two flags: the slice
    /// sets its sequence before it looks at `parked`, this sets `parked` before it looks at the sequences.
    fn sleep(&self, seen: &[(Weak<Slot>, u64)]) {
        self.parked.store(true, SeqCst);
        let started =
            seen.iter().any(|(slot, last)| slot.upgrade().is_some_and(|slot| slot.sequence() != *last));
        if !started {
            // A VM made meanwhile is noticed within this time, should its first slice slip through.
            thread::park_timeout(Duration::from_secs(1));
        }
        self.parked.store(false, SeqCst);
    }
}
