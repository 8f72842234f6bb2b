//! Ports that stay ours, also while the server behind them is down.
//!
//! They lie below those that the kernel hands out. A client that keeps trying to reach a server that is down would
//! otherwise, once in a while, be given that very port to connect from, connect to itself, and hold it; and a test
//! that restarts a server on its port would fail once in a while.

use crate::{PartError, cache};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const PART: &str = "a free port";
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port that no other process that uses this cache takes while this is held.
#[derive(Debug)]
pub struct Lease {
    port: u16,
    lock: File,
}

impl Lease {
    /// # Errors
    /// [`PartError`] where none is free.
    pub fn any() -> Result<Lease, PartError> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes start at different places, so that they seldom try the same ports.
        let start = (std::process::id() % u32::from(COUNT / 50)) as u16 * 50;
        for _ in 0..COUNT {
            let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            if let Some(lease) = Lease::try_of(port)? {
                return Ok(lease);
            }
        }
        let what = format!("none of the ports from {FIRST} on is free");
        Err(PartError::Failed { part: PART, what })
    }

    pub(crate) fn of(port: u16) -> Result<Lease, PartError> {
        let taken = || PartError::Failed { part: PART, what: format!("port {port} is taken: stop what uses it") };
        Lease::try_of(port)?.ok_or_else(taken)
    }

    fn try_of(port: u16) -> Result<Option<Lease>, PartError> {
        let folder = cache::root().join("locks");
        fs::create_dir_all(&folder).map_err(PartError::io(PART, &folder))?;
        let path = folder.join(format!("port-{port}"));
        let lock = File::create(&path).map_err(PartError::io(PART, &path))?;
        let lease = Lease { port, lock };
        Ok((lease.lock.try_lock().is_ok() && lease.is_free()).then_some(lease))
    }

    /// Whether nobody listens there: a process that knows nothing of leases may.
    pub(crate) fn is_free(&self) -> bool {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}
