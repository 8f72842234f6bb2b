//! A link: frames both ways between two processes, with a heartbeat. One that is silent for too long, closed, or does not take what it is
//! told is lost, which is said once.

use super::frame::{FRAME_MOST, read_frame, write_frame};
use super::socket::Socket;
use anyhow::Context;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timely::communication::allocator::zero_copy::stream::Stream;

/// Bytes that may wait for the other end: who is further behind is lost.
const WAITING_MOST: usize = 512 << 20;
/// Heartbeats in the time after which silence means that a peer is lost.
const BEATS: u32 = 10;

/// Where what is to be sent waits. It never blocks.
#[derive(Clone)]
pub struct Outbox {
    sender: Sender<Arc<[u8]>>,
    waiting: Arc<AtomicUsize>,
    lost: Lost,
}

/// Says once that a link is lost.
#[derive(Clone)]
struct Lost(Arc<Mutex<Option<Say>>>);

type Say = Box<dyn FnOnce(String) + Send>;

impl Lost {
    fn say(&self, reason: String) {
        let first = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(say) = first {
            say(reason);
        }
    }
}

impl Outbox {
    /// Sends a frame, some time soon. What is sent on a link that is lost goes nowhere.
    pub fn send(&self, bytes: Arc<[u8]>) {
        assert!(!bytes.is_empty(), "an empty frame is a heartbeat");
        let waiting = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if waiting > WAITING_MOST {
            self.lost.say(format!("it is {} MB behind with what it is told", waiting >> 20));
            return;
        }
        let _ = self.sender.send(bytes);
    }

    /// An outbox, and what empties it into `out` until nobody can send any more or `out` fails. A heartbeat goes out where nothing else
    /// does for `beat`.
    pub fn to(
        mut out: impl Write + Send + 'static,
        beat: Duration,
        name: &str,
        on_lost: impl FnOnce(String) + Send + 'static,
    ) -> anyhow::Result<Outbox> {
        let lost = Lost(Arc::new(Mutex::new(Some(Box::new(on_lost)))));
        let (outbox, receiver) = Outbox::new(lost.clone());
        let waiting = outbox.waiting.clone();
        std::thread::Builder::new()
            .name(format!("to-{name}"))
            .spawn(move || {
                if let Err(error) = empty(&receiver, &waiting, &mut out, beat) {
                    lost.say(format!("it takes nothing any more: {error}"));
                }
            })
            .with_context(|| format!("starting the thread that tells {name}"))?;
        Ok(outbox)
    }

    fn new(lost: Lost) -> (Outbox, Receiver<Arc<[u8]>>) {
        let (sender, receiver) = channel();
        (Outbox { sender, waiting: Arc::default(), lost }, receiver)
    }
}

fn empty(receiver: &Receiver<Arc<[u8]>>, waiting: &AtomicUsize, out: &mut dyn Write, beat: Duration) -> io::Result<()> {
    loop {
        match receiver.recv_timeout(beat) {
            Ok(bytes) => {
                write_frame(out, &bytes)?;
                waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => write_frame(out, &[])?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// A link to another process.
pub struct Link {
    pub outbox: Outbox,
    /// Who is at the other end.
    pub peer: String,
    is_lost: Arc<AtomicBool>,
    stream: Socket,
}

impl Link {
    /// Starts the two threads of a link to a peer. Each frame that comes is handed to `take`; `on_lost` is told once why the link is lost: also
    /// where the other end has closed it.
    ///
    /// # Errors
    /// Where the socket or the system does not take it.
    pub fn start(
        stream: Socket,
        peer: &str,
        silence: Duration,
        mut take: impl FnMut(Vec<u8>) + Send + 'static,
        on_lost: impl FnOnce(String) + Send + 'static,
    ) -> anyhow::Result<Link> {
        let peer = peer.to_owned();
        stream.set_read_timeout(Some(silence)).context("setting up the socket")?;
        stream.set_write_timeout(Some(silence)).context("setting up the socket")?;
        let is_lost = Arc::new(AtomicBool::new(false));
        let flag = is_lost.clone();
        let on_lost = move |reason| {
            flag.store(true, Ordering::Relaxed);
            on_lost(reason);
        };
        let outbox = Outbox::to(stream.try_clone()?, silence / BEATS, &peer, on_lost)?;
        let (mut from, lost) = (stream.try_clone()?, outbox.lost.clone());
        std::thread::Builder::new()
            .name(format!("from-{peer}"))
            .spawn(move || {
                loop {
                    match read_frame(&mut from, FRAME_MOST) {
                        Ok(bytes) if bytes.is_empty() => {}
                        Ok(bytes) => take(bytes),
                        Err(error) => return lost.say(why(&error, silence)),
                    }
                }
            })
            .with_context(|| format!("starting the thread that hears {peer}"))?;
        Ok(Link { outbox, peer, is_lost, stream })
    }

    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Closes it on both sides.
    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn why(error: &io::Error, silence: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it has been silent for {} ms (cluster.silence_ms)", silence.as_millis())
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it has closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        (here, listener.accept().expect("it has come").0)
    }

    fn link(stream: TcpStream, silence: Duration) -> (Link, Receiver<Vec<u8>>, Receiver<String>) {
        let ((took, taken), (lose, lost)) = (channel(), channel());
        let take = move |bytes| drop(took.send(bytes));
        (
            Link::start(Socket::Tcp(stream), "peer", silence, take, move |reason| drop(lose.send(reason)))
                .expect("it starts"),
            taken,
            lost,
        )
    }

    #[test]
    fn what_is_sent_comes_and_silence_is_no_loss_while_hearts_beat() {
        let silence = Duration::from_millis(300);
        let (here, there) = pair();
        let ((here, _, lost_here), (there, heard, lost_there)) = (link(here, silence), link(there, silence));
        here.outbox.send(Arc::from(&b"hello"[..]));
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)).expect("it comes"), b"hello");
        std::thread::sleep(3 * silence);
        assert!(lost_here.try_recv().is_err() && lost_there.try_recv().is_err());
        there.close();
        assert!(lost_here.recv_timeout(Duration::from_secs(5)).expect("it is lost").contains("closed"));
        assert!(here.is_lost());
    }

    #[test]
    fn who_says_nothing_is_lost_in_time() {
        let silence = Duration::from_millis(300);
        let (here, _there) = pair();
        let (_link, _, lost) = link(here, silence);
        let begun = Instant::now();
        let reason = lost.recv_timeout(Duration::from_secs(5)).expect("it is lost");
        assert!(reason.contains("silent for 300 ms") && begun.elapsed() >= silence, "{reason}");
    }
}
