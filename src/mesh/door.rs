//! The door: listens for as long as the process lives, hears who knocks, and refuses whoever is not expected. Nobody holds it up: each who
//! knocks has a thread and a few seconds, and there are only so many at a time.

use super::hello::{Answer, Hello};
use super::meeting::Meeting;
use super::socket::Socket;
use anyhow::Context;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a hello may take.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Who may be at the door at a time; others are turned away unheard.
const AT_THE_DOOR_MOST: usize = 64;
/// How often it is said at most that somebody was refused.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Listens at `address`, and has everybody who knocks meet `meeting`.
///
/// # Errors
/// Where nothing can listen there; it names the hosts file.
pub fn open(address: &str, meeting: &Arc<Meeting>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("listening on {address} for the other processes: the hosts file gives this process an address of this machine, and a port that is free")
    })?;
    let meeting = meeting.clone();
    let run = move || {
        let at_the_door = Arc::new(AtomicUsize::new(0));
        let mut refused = Refused::default();
        loop {
            let Ok((stream, from)) = listener.accept() else {
                // So many sockets are open that there is none left: some will be closed.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if at_the_door.fetch_add(1, Ordering::Relaxed) >= AT_THE_DOOR_MOST {
                at_the_door.fetch_sub(1, Ordering::Relaxed);
                refused.say(&format!("{from} was turned away from the mesh port: {AT_THE_DOOR_MOST} others are at it and have not said who they are"));
                continue;
            }
            let (meeting, count) = (meeting.clone(), at_the_door.clone());
            let hear = move || {
                let heard = hear(stream, &meeting);
                count.fetch_sub(1, Ordering::Relaxed);
                if let Err(reason) = heard {
                    meeting.refused(&format!("refused {from} at the mesh port: {reason}"));
                }
            };
            if std::thread::Builder::new().name("knock".to_owned()).spawn(hear).is_err() {
                at_the_door.fetch_sub(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::Builder::new().name("door".to_owned()).spawn(run).context("starting the thread of the mesh port")?;
    Ok(())
}

/// Hears one who knocks. Returns why it was refused, if it was.
fn hear(stream: TcpStream, meeting: &Meeting) -> Result<(), String> {
    let until = Instant::now() + HELLO_TIME;
    let stream = meeting.security().accept(stream, HELLO_TIME).map_err(|error| format!("TLS: {error}"))?;
    let mut timed = Timed { stream: &stream, until };
    let hello = Hello::read(&mut timed).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it did not say who it is in {} seconds", HELLO_TIME.as_secs())
        }
        io::ErrorKind::UnexpectedEof => "it went away before it had said who it is".to_owned(),
        _ => error.to_string(),
    })?;
    stream.set_write_timeout(Some(HELLO_TIME)).map_err(|error| error.to_string())?;
    let answer = meeting.judge(&hello);
    let written = answer.write(&mut &stream);
    match answer {
        Answer::Welcome if written.is_ok() => {
            stream.set_read_timeout(None).and(stream.set_write_timeout(None)).map_err(|error| error.to_string())?;
            meeting.arrived(&hello, stream);
            Ok(())
        }
        Answer::Welcome => {
            meeting.left(&hello);
            Ok(())
        }
        Answer::Later(_) => Ok(()),
        Answer::Refused(reason) => Err(format!("process {}: {reason}", hello.process)),
    }
}

/// Reads until a deadline, however slowly it comes.
struct Timed<'a> {
    stream: &'a Socket,
    until: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        (&mut &*self.stream).read(buffer)
    }
}

/// Says who was refused, and not too often: there are those who knock at every port.
#[derive(Default)]
pub(super) struct Refused {
    said: Option<Instant>,
    unsaid: u64,
}

impl Refused {
    pub(super) fn say(&mut self, text: &str) {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            self.unsaid += 1;
            return;
        }
        self.said = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => crate::log::warning(text),
            unsaid => crate::log::warning(format_args!("{text} ({unsaid} others since the last such line)")),
        }
    }
}
