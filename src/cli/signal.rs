//! How a process that runs is ended.
//!
//! | | |
//! |---|---|
//! | Ctrl-C, SIGTERM | the first asks for a good end, the second ends at once |
//! | SIGHUP: the terminal has gone | asks for a good end, however often it comes; passed over where it was ignored from the start (`nohup`) |

use crate::log;
use anyhow::Context;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell shows for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether this process is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    told: Arc<AtomicBool>,
    hung_up: Arc<AtomicBool>,
}

impl Stop {
    pub fn is_asked(&self) -> bool {
        self.told.load(Ordering::Relaxed) || self.has_hung_up()
    }

    /// Whether the terminal has gone, and with it whoever would read there.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Relaxed)
    }

    /// Listens to signals from now on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub fn listen() -> anyhow::Result<Stop> {
        const WHAT: &str = "listening to signals";
        let stop = Stop::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context(WHAT)?;
        let of_runtime = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).context(WHAT)?;
        let mut terminate = signal(SignalKind::terminate()).context(WHAT)?;
        // To listen would undo what nohup has done.
        let hangup = (!is_ignored(libc::SIGHUP)).then(|| signal(SignalKind::hangup()));
        let mut hangup = hangup.transpose().context(WHAT)?;
        drop(of_runtime);
        let heard = stop.clone();
        let listen = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => heard.tell(),
                        _ = terminate.recv() => heard.tell(),
                        () = next(&mut hangup) => heard.hung_up.store(true, Ordering::Relaxed),
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).context(WHAT)?;
        Ok(stop)
    }

    fn tell(&self) {
        if self.told.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: without a new action it only writes what holds now, over a structure of plain data.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Passes over what a terminal says: a parent hears it, and passes on what is for this process.
pub fn pass_over() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: it has a signal ignored, which concerns no memory.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Has a process end where this one does, however it does.
pub fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec it makes one system call, and touches no memory.
    unsafe {
        use std::os::unix::process::CommandExt;
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// A panic in one thread must not leave the others waiting for it. The report does without a stderr that is gone.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if log::is_json() {
            log::error(format_args!("a defect: {panic}"));
        } else {
            report(panic);
        }
        std::process::exit(101);
    }));
}
