//! Who is expected, and who has come: decided in one place, whichever thread hears a hello.
//!
//! ```text
//! process 0:  control of all others gathered ─▶ lake claimed, generation told ─▶ data sockets of that generation ─▶ running
//! others:     control to process 0 ──────────▶ generation heard ──────────────▶ data sockets of that generation ─▶ running
//! ```
//! Of each two processes the one with the higher number knocks.

use super::door::{self, Refused};
use super::hello::{Answer, Hello, Purpose};
use super::hosts::Hosts;
use super::security::Security;
use super::socket::Socket;
use anyhow::Context;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one try to reach another process may take, and how long until the next.
const TRY: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is said that another process is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    /// Whose data sockets are taken.
    generation: Option<u64>,
    /// Which processes have a link to this one, as far as is known.
    present: Vec<bool>,
    /// Links that nobody has taken yet.
    controls: Vec<(usize, Socket)>,
    data: Vec<Option<Socket>>,
    /// All are there: who knocks now is of a generation that does not know that it is over, or of the next.
    is_running: bool,
}

/// What this process knows of the others.
pub struct Meeting {
    /// As this process would knock.
    me: Hello,
    security: Security,
    state: Mutex<State>,
    changed: Condvar,
    refused: Mutex<Refused>,
}

impl Meeting {
    /// Opens the door of this process.
    ///
    /// # Errors
    /// Where nothing can listen where the hosts file says.
    pub fn open(hosts: &Hosts, me: Hello, security: Security) -> anyhow::Result<Arc<Meeting>> {
        let address = hosts.of(me.process).to_owned();
        let meeting = Meeting::new(me, security);
        door::open(&address, &meeting)?;
        Ok(meeting)
    }

    fn new(me: Hello, security: Security) -> Arc<Meeting> {
        let count = me.processes;
        let state = State { present: vec![false; count], data: (0..count).map(|_| None).collect(), ..State::default() };
        Arc::new(Meeting { me, security, state: Mutex::new(state), changed: Condvar::new(), refused: Mutex::default() })
    }

    pub fn security(&self) -> &Security {
        &self.security
    }

    /// As this process knocks for a purpose.
    pub fn hello(&self, purpose: Purpose) -> Hello {
        Hello { purpose, ..self.me.clone() }
    }

    /// What who knocks is answered. Who is welcome is expected from then on.
    pub(super) fn judge(&self, hello: &Hello) -> Answer {
        if let Some(reason) = self.me.disagreement(hello) {
            return Answer::Refused(reason);
        }
        let mut state = self.lock();
        let (process, me) = (hello.process, self.me.process);
        match hello.purpose {
            Purpose::Control if me != 0 => {
                Answer::Refused(format!("this is process {me}: the first line of the hosts file is that of process 0"))
            }
            Purpose::Control if state.is_running => Answer::Later("a generation is running".to_owned()),
            Purpose::Control if state.present[process] => {
                Answer::Later(format!("there is a process {process} already, and it is not known to have ended"))
            }
            Purpose::Control => {
                state.present[process] = true;
                Answer::Welcome
            }
            Purpose::Data { .. } if process < me => {
                Answer::Refused(format!("process {process} is knocked at by process {me}, and not the other way"))
            }
            Purpose::Data { generation } => match state.generation {
                Some(ours) if generation < ours => Answer::Refused(format!(
                    "it is of generation {generation}, which is over: this is generation {ours}"
                )),
                // While a generation forms, who knocks again has not heard the first answer: the later socket counts.
                Some(ours) if generation == ours && state.is_running => {
                    Answer::Refused(format!("process {process} of generation {generation} is there already"))
                }
                Some(ours) if generation == ours => Answer::Welcome,
                _ => Answer::Later(format!("generation {generation} is not known here yet")),
            },
        }
    }

    /// Who was welcome has heard so.
    pub(super) fn arrived(&self, hello: &Hello, stream: Socket) {
        let mut state = self.lock();
        match hello.purpose {
            Purpose::Control => state.controls.push((hello.process, stream)),
            Purpose::Data { generation } if state.generation == Some(generation) => {
                state.data[hello.process] = Some(stream);
            }
            Purpose::Data { .. } => {}
        }
        self.changed.notify_all();
    }

    /// Who was welcome has gone.
    pub(super) fn left(&self, hello: &Hello) {
        match hello.purpose {
            Purpose::Control => self.lost(hello.process),
            Purpose::Data { .. } => {}
        }
    }

    /// The link of a process is lost: it may come again.
    pub fn lost(&self, process: usize) {
        self.lock().present[process] = false;
        self.changed.notify_all();
    }

    /// A link that has come, if one does in time.
    pub fn control(&self, timeout: Duration) -> Option<(usize, Socket)> {
        let state = self.lock();
        let none = |state: &mut State| state.controls.is_empty();
        let (mut state, _) =
            self.changed.wait_timeout_while(state, timeout, none).unwrap_or_else(PoisonError::into_inner);
        state.controls.pop()
    }

    /// From now on the data sockets of this generation are taken, and no other's.
    pub fn expect(&self, generation: u64) {
        let mut state = self.lock();
        assert!(state.generation.is_none_or(|before| before < generation), "generations rise");
        state.generation = Some(generation);
        state.data.iter_mut().for_each(|socket| *socket = None);
    }

    /// The data sockets of the processes after this one, by process. The meeting is over with it: who comes later comes to a generation
    /// that runs.
    ///
    /// # Errors
    /// Where one does not come in time.
    pub fn data(&self, within: Duration) -> anyhow::Result<Vec<Option<Socket>>> {
        let (first, state) = (self.me.process + 1, self.lock());
        let missing = |state: &State| (first..self.me.processes).find(|&process| state.data[process].is_none());
        let waited = self.changed.wait_timeout_while(state, within, |state| missing(state).is_some());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = missing(&state) {
            anyhow::bail!("process {process} did not connect for the exchange of data in {} s", within.as_secs());
        }
        state.is_running = true;
        Ok(state.data.iter_mut().map(Option::take).collect())
    }

    pub(super) fn refused(&self, text: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).say(text);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Knocks at process 0 until it is welcome. `say` is told what is waited for.
///
/// # Errors
/// Where it is refused, or `should_stop`.
pub fn join_control(
    hosts: &Hosts,
    hello: &Hello,
    security: &Security,
    say: &dyn Fn(String),
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<Socket> {
    assert_eq!(hello.purpose, Purpose::Control);
    let mut next_line = Instant::now() + SAY_EVERY / 5;
    loop {
        anyhow::ensure!(!should_stop(), "it was told to end before process 0 was there");
        let reason = match knock(hosts.of(0), hello, security)? {
            Ok(stream) => return Ok(stream),
            Err(reason) => reason,
        };
        if Instant::now() >= next_line {
            next_line = Instant::now() + SAY_EVERY;
            say(format!("waiting for process 0 at {}: {reason}", hosts.of(0)));
        }
        std::thread::sleep(AGAIN);
    }
}

/// Knocks at all processes before this one, and returns the sockets, by process.
///
/// # Errors
/// Where it is refused, or one is not there in time.
pub fn join_data(hosts: &Hosts, hello: &Hello, security: &Security, within: Duration) -> anyhow::Result<Vec<Socket>> {
    let until = Instant::now() + within;
    let join = |process: usize| loop {
        match knock(hosts.of(process), hello, security)? {
            Ok(stream) => return Ok(stream),
            Err(reason) if Instant::now() >= until => {
                let host = hosts.of(process);
                anyhow::bail!("process {process} at {host} is not reached for the exchange of data: {reason}")
            }
            Err(_) => std::thread::sleep(AGAIN),
        }
    };
    (0..hello.process).map(join).collect()
}

/// Knocks once. The inner error is why to knock again.
fn knock(host: &str, hello: &Hello, security: &Security) -> anyhow::Result<Result<Socket, String>> {
    let answered = || {
        let stream = security.connect(host, TRY)?;
        stream.set_read_timeout(Some(TRY))?;
        stream.set_write_timeout(Some(TRY))?;
        hello.write(&mut &stream)?;
        let answer = Answer::read(&mut &stream)?;
        std::io::Result::Ok((stream, answer))
    };
    Ok(match answered() {
        Err(error) => Err(error.to_string()),
        Ok((_, Answer::Later(reason))) => Err(reason),
        Ok((_, Answer::Refused(reason))) => anyhow::bail!("the process at {host} refuses this one: {reason}"),
        Ok((stream, Answer::Welcome)) => {
            stream.set_read_timeout(None).context("setting up the socket")?;
            stream.set_write_timeout(None).context("setting up the socket")?;
            Ok(stream)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::hello::tests::hello;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn plain() -> Security {
        Security::new(Duration::from_secs(5), None).expect("nothing is opened")
    }

    fn hosts() -> Hosts {
        Hosts::local(3).expect("there are ports")
    }

    #[test]
    fn a_mesh_is_made_and_who_does_not_belong_is_refused() {
        let hosts = hosts();
        let meetings: Vec<_> = (0..3)
            .map(|process| Meeting::open(&hosts, hello(process, Purpose::Control), plain()).expect("it listens"))
            .collect();
        let (say, never) = (|_: String| {}, || false);
        // Garbage, and one that says nothing and stays.
        let mut garbage = TcpStream::connect(hosts.of(0)).expect("it listens");
        garbage.write_all(&[0x16, 3, 1].repeat(100)).expect("it is taken");
        let _silent = TcpStream::connect(hosts.of(0)).expect("it listens");
        let foreign = Hello { cluster: "other".to_owned(), ..hello(1, Purpose::Control) };
        let error = join_control(&hosts, &foreign, &plain(), &say, &never).expect_err("it is another cluster's");
        assert!(error.to_string().contains("cluster.name"), "{error}");

        let links: Vec<_> = (1..3)
            .map(|process| {
                join_control(&hosts, &meetings[process].hello(Purpose::Control), &plain(), &say, &never)
                    .expect("welcome")
            })
            .collect();
        let mut came: Vec<usize> =
            (0..2).map(|_| meetings[0].control(Duration::from_secs(5)).expect("it has come").0).collect();
        came.sort_unstable();
        assert_eq!(came, [1, 2]);
        let twice =
            knock(hosts.of(0), &hello(1, Purpose::Control), &plain()).expect("not for ever").expect_err("not now");
        assert!(twice.contains("already"), "{twice}");
        assert_eq!(garbage.read(&mut [0; 1]).unwrap_or(0), 0, "garbage is closed");

        meetings.iter().for_each(|meeting| meeting.expect(7));
        let former = knock(hosts.of(0), &hello(1, Purpose::Data { generation: 6 }), &plain()).expect_err("it is over");
        assert!(former.to_string().contains("generation 6, which is over"), "{former}");
        let later = knock(hosts.of(0), &hello(1, Purpose::Data { generation: 8 }), &plain()).expect("not for ever");
        assert!(later.expect_err("not yet").contains("not known here yet"));
        std::thread::scope(|scope| {
            for process in 1..3 {
                let (hosts, meetings) = (&hosts, &meetings);
                scope.spawn(move || {
                    let hello = meetings[process].hello(Purpose::Data { generation: 7 });
                    let sockets = join_data(hosts, &hello, &plain(), Duration::from_secs(5)).expect("all are there");
                    assert_eq!(sockets.len(), process);
                    let after = meetings[process].data(Duration::from_secs(5)).expect("they come");
                    assert_eq!(after.iter().flatten().count(), 2 - process);
                });
            }
            assert_eq!(meetings[0].data(Duration::from_secs(5)).expect("they come").iter().flatten().count(), 2);
        });
        let running =
            knock(hosts.of(0), &hello(1, Purpose::Control), &plain()).expect("not for ever").expect_err("not now");
        assert!(running.contains("running"), "{running}");
        drop(links);
    }
}
