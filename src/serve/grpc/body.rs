//! What goes in and out of a call, counted: a request as it comes, an answer until it has left the server's buffers.

use super::error::full;
use crate::serve::callers::connections::Connection;
use crate::serve::callers::memory::{CALL_BYTES, Charge, Full, Memory, Of};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::time::Instant;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

/// An answer goes out in pieces of this size, so that the connection buffers no more of it than the caller takes.
const PIECE_BYTES: usize = 64 << 10;
/// What stands before a message of gRPC.
const MESSAGE_HEAD_BYTES: usize = 5;

/// A call that is open.
pub struct Call {
    memory: Arc<Memory>,
    connection: Option<Arc<Connection>>,
    charge: Mutex<Charge>,
    /// Room for the answer, which is there and has not begun to go out.
    answer: Mutex<Option<Debt>>,
    /// Whether a connection with it is in use: what needs no token keeps no place.
    is_use: bool,
    /// Whether it was answered to the end.
    is_answered: AtomicBool,
}

impl Call {
    /// # Errors
    /// Where there is no memory for it.
    pub fn begin(memory: &Arc<Memory>, connection: Option<Arc<Connection>>, is_use: bool) -> Result<Arc<Call>, Full> {
        let charge = memory.charge(CALL_BYTES, Of::Calls, connection.as_deref())?;
        if let Some(connection) = connection.as_ref().filter(|_| is_use) {
            connection.call_begins();
        }
        let (charge, answer, is_answered) = (Mutex::new(charge), Mutex::default(), AtomicBool::new(false));
        Ok(Arc::new(Call { memory: memory.clone(), connection, charge, answer, is_use, is_answered }))
    }

    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.connection.as_ref()
    }

    /// An answer of so many bytes is there: it counts from now on, whether or not the caller takes any of it.
    ///
    /// # Errors
    /// Where there is no memory for it, and none in time.
    pub async fn will_owe(&self, bytes: usize, until: Instant) -> Result<(), Full> {
        let charge = self.memory.room(bytes, Of::Calls, self.connection.as_deref(), until).await?;
        let debt = Debt::begin(charge, bytes, self.connection.clone());
        *self.answer.lock().expect("no holder of the answer panics") = Some(debt);
        Ok(())
    }

    fn takes_in(&self, bytes: usize) -> Result<(), Full> {
        self.memory.charge(bytes, Of::Calls, self.connection.as_deref()).map(drop)?;
        self.charge.lock().expect("no holder of the charge panics").grow(bytes);
        Ok(())
    }

    /// Bytes that are on their way until they are dropped.
    fn owes(&self, bytes: Bytes) -> Result<Bytes, Full> {
        let reserved = self.answer.lock().expect("no holder of the answer panics").take();
        let debt = match reserved {
            // The head of the message is not in it.
            Some(debt) if debt.bytes + MESSAGE_HEAD_BYTES >= bytes.len() => debt,
            _ => {
                let charge = self.memory.charge(bytes.len(), Of::Calls, self.connection.as_deref())?;
                Debt::begin(charge, bytes.len(), self.connection.clone())
            }
        };
        Ok(Bytes::from_owner(Owed { bytes, _debt: debt }))
    }
}

/// Bytes that are there for a connection to take, or soon will be.
struct Debt {
    bytes: usize,
    connection: Option<Arc<Connection>>,
    _charge: Charge,
}

impl Debt {
    fn begin(charge: Charge, bytes: usize, connection: Option<Arc<Connection>>) -> Debt {
        if let Some(connection) = &connection {
            connection.is_owed(bytes);
        }
        Debt { bytes, connection, _charge: charge }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.is_owed_no_more(self.bytes);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(connection) = &self.connection else { return };
        if self.is_use {
            connection.call_ends();
        }
        if !self.is_answered.load(Relaxed) {
            connection.call_was_reset();
        }
    }
}

struct Owed {
    bytes: Bytes,
    _debt: Debt,
}

impl AsRef<[u8]> for Owed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request's body.
pub struct Incoming<B> {
    pub body: B,
    pub call: Arc<Call>,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Incoming<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.call.takes_in(data.len()).map_err(full)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body.
#[derive(Default)]
pub struct Outgoing<B> {
    body: B,
    /// Of what the body gave, what has not been passed on yet.
    rest: Bytes,
    has_failed: bool,
    call: Option<Arc<Call>>,
}

impl<B: Body> Outgoing<B> {
    pub fn new(body: B, call: Option<Arc<Call>>) -> Outgoing<B> {
        if let Some(call) = call.as_ref().filter(|_| body.is_end_stream()) {
            call.is_answered.store(true, Relaxed);
        }
        Outgoing { body, rest: Bytes::new(), has_failed: false, call }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            if this.has_failed {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => {
                    this.is_answered();
                    return Poll::Ready(other);
                }
            };
            match frame.into_data() {
                Ok(data) => match &this.call {
                    Some(call) if !data.is_empty() => match call.owes(data) {
                        Ok(data) => this.rest = data,
                        Err(short) => return Poll::Ready(Some(Ok(this.fail(&full(short))))),
                    },
                    _ => return Poll::Ready(Some(Ok(Frame::data(data)))),
                },
                Err(trailers) => {
                    this.is_answered();
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
        }
        if let Some(connection) = this.call.as_ref().and_then(|call| call.connection.as_ref()) {
            connection.takes();
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && (self.has_failed || self.body.is_end_stream())
    }
}

impl<B> Outgoing<B> {
    fn is_answered(&self) {
        if let Some(call) = &self.call {
            call.is_answered.store(true, Relaxed);
        }
    }

    /// The head has gone out as that of an answer: why there is none comes in its place.
    fn fail(&mut self, status: &Status) -> Frame<Bytes> {
        self.has_failed = true;
        self.is_answered();
        let mut trailers = HeaderMap::new();
        // What of a status is no header cannot be told; it never is one of these.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}
