//! From the listening socket to connections that speak HTTP/2: each is greeted in a task of its own, within a time.
//!
//! ```text
//! socket ─▶ greeted (TLS, the first bytes of HTTP/2; so many at once, the oldest gives way) ─▶ has a place ─▶ served
//! ```
//! Who connects and says nothing keeps nobody out: it has no place yet.

use crate::serve::callers::connections::{Connection, Connections, Place};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// What every client of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that are greeted at once.
const GREETED_MOST: usize = 256;
/// After the system has refused one, mostly for want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Greets with TLS, or without.
#[derive(Clone)]
pub enum Greeting {
    Plain,
    #[cfg(feature = "serve-tls")]
    Tls(tokio_rustls::TlsAcceptor),
}

/// The connections that are to be served. It listens until the stream is dropped.
pub fn accept(
    listener: TcpListener,
    greeting: Greeting,
    within: Duration,
    connections: Arc<Connections>,
) -> impl Stream<Item = io::Result<Accepted>> {
    let (sender, served) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut greeted: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => break,
            };
            let Ok((stream, address)) = accepted else {
                tokio::time::sleep(REST).await;
                continue;
            };
            greeted.retain(|task| !task.is_finished());
            if greeted.len() >= GREETED_MOST
                && let Some(oldest) = greeted.pop_front()
            {
                oldest.abort();
            }
            let (greeting, connections, sender) = (greeting.clone(), connections.clone(), sender.clone());
            let task = tokio::spawn(async move {
                let greet = tokio::time::timeout(within, greet(stream, greeting));
                // One that is no client of ours, or says nothing, is closed.
                let Ok(Ok(io)) = greet.await else { return };
                let place = connections.enter(address.ip().to_canonical()).await;
                let _ = sender.send(Ok(Accepted { io, preface: 0, place })).await;
            });
            greeted.push_back(task.abort_handle());
        }
        greeted.iter().for_each(AbortHandle::abort);
    });
    ReceiverStream::new(served)
}

async fn greet(stream: TcpStream, greeting: Greeting) -> io::Result<Io> {
    stream.set_nodelay(true)?;
    keep_little_unsent(&stream);
    let mut io = match greeting {
        Greeting::Plain => Io::Plain(stream),
        #[cfg(feature = "serve-tls")]
        Greeting::Tls(acceptor) => match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Io::Tls(Box::new(stream)),
            Err((error, stream)) => {
                hear_out(stream).await;
                return Err(error);
            }
        },
    };
    let mut first = [0; PREFACE.len()];
    io.read_exact(&mut first).await?;
    if first == *PREFACE { Ok(io) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What the system buffers of a connection, beside what is on its way to the other side. By itself it takes megabytes of
/// each from one that reads nothing, which no budget of ours counts and a control group does.
#[cfg(target_os = "linux")]
fn keep_little_unsent(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let most: libc::c_int = 256 << 10;
    let (bytes, size) = ((&raw const most).cast(), size_of_val(&most) as libc::socklen_t);
    // SAFETY: the descriptor is open for as long as the stream, and `bytes` are those of an integer that is still there. A
    // system that does not know the option buffers more.
    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes, size) };
}

#[cfg(not(target_os = "linux"))]
fn keep_little_unsent(_stream: &TcpStream) {}

/// Lets the other side read why it is refused: one that is closed while it still sends may never see it.
#[cfg(feature = "serve-tls")]
async fn hear_out(mut stream: TcpStream) {
    use tokio::io::AsyncWriteExt;
    const PATIENCE: Duration = Duration::from_secs(1);
    let hear = async {
        let mut bytes = [0; 1_024];
        stream.shutdown().await?;
        while stream.read(&mut bytes).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(PATIENCE, hear).await;
}

enum Io {
    Plain(TcpStream),
    #[cfg(feature = "serve-tls")]
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Io {
    fn get(&mut self) -> Pin<&mut dyn Both> {
        match self {
            Io::Plain(stream) => Pin::new(stream),
            #[cfg(feature = "serve-tls")]
            Io::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get().poll_read(context, into)
    }
}

/// A connection that speaks HTTP/2 and has a place, which it gives back when it ends.
pub struct Accepted {
    io: Io,
    /// How much of the preface, which was read to greet it, was read again.
    preface: usize,
    place: Place,
}

/// Who calls.
#[derive(Clone)]
pub struct Caller(pub Arc<Connection>);

impl Caller {
    pub fn address(&self) -> IpAddr {
        self.0.address
    }
}

impl Accepted {
    fn goes_on(&self, context: &Context<'_>) -> io::Result<()> {
        if self.place.connection.is_closing(context.waker()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Connected for Accepted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller(self.place.connection.clone())
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.goes_on(context)?;
        let left = &PREFACE[self.preface..];
        if left.is_empty() {
            return self.io.get().poll_read(context, into);
        }
        let count = left.len().min(into.remaining());
        into.put_slice(&left[..count]);
        self.preface += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.goes_on(context)?;
        self.io.get().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.goes_on(context)?;
        self.io.get().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.get().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.goes_on(context)?;
        self.io.get().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "serve-tls")]
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
