//! An answer that is kept up: folds the messages of a subscription.

use super::connection::Connection;
use super::error::ClientError;
use super::rows::{KeyedRows, cells};
use millrace_dataflows::table::Value;
use millrace_proto::v1;
use millrace_proto::v1::subscribe_response::Message;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::Streaming;

/// A subscription and the answer so far.
pub struct Watching<'a> {
    connection: &'a Connection,
    request: v1::SubscribeRequest,
    messages: Streaming<v1::SubscribeResponse>,
    /// Ctrl-C, also between two looks; nothing where the system does not tell.
    interrupts: Option<Signal>,
    /// Whether the rows are those of `at`, and not on their way to a later epoch.
    whole: bool,
    pub rows: KeyedRows,
    /// The epoch of the rows.
    pub at: v1::At,
}

/// What was learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The rows are anew a whole answer.
    Snapshot,
    /// The rows that changed: before and after, one of them `None` where it was not there.
    Changes(Vec<Change>),
    Progress,
    /// The time was over before anything came.
    Nothing,
    /// Ctrl-C.
    Interrupted,
}

pub type Change = (Option<Vec<Value>>, Option<Vec<Value>>);

impl<'a> Watching<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        request: v1::SubscribeRequest,
        messages: Streaming<v1::SubscribeResponse>,
    ) -> Watching<'a> {
        let interrupts = connection.wait(async { signal(SignalKind::interrupt()).ok() });
        let (rows, at) = (KeyedRows::default(), v1::At::default());
        Watching { connection, request, messages, interrupts, rows, at, whole: true }
    }

    /// Subscribes again, from the epoch of the rows.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn resume(&mut self) -> Result<(), ClientError> {
        // Rows that are half of one epoch and half of another are no epoch's.
        self.request.resume_epoch = if self.whole { self.at.epoch } else { 0 };
        self.messages = self.connection.subscribe(self.request.clone())?;
        Ok(())
    }

    /// Whether the rows are a whole answer, and not half of one.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Waits; tells whether Ctrl-C was pressed.
    pub fn pause(&mut self, until: Instant) -> bool {
        let interrupted = interrupted(&mut self.interrupts);
        self.connection.wait(async {
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => false,
                () = interrupted => true,
            }
        })
    }

    /// Waits until the rows are the whole answer of a later epoch, or time is over.
    ///
    /// # Errors
    /// Where the subscription ends.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Seen, ClientError> {
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let message = match self.message(until)? {
                Ok(message) => message,
                Err(seen) => return Ok(seen),
            };
            match message {
                Message::Progress(progress) => {
                    self.at = progress.at.unwrap_or_default();
                    return Ok(Seen::Progress);
                }
                Message::Snapshot(batch) => {
                    self.whole = batch.last;
                    if batch.first {
                        self.rows = KeyedRows::new(batch.columns);
                    }
                    for row in &batch.rows {
                        let row = self.cells(row)?;
                        self.rows.upsert(row);
                    }
                    if batch.last {
                        self.at = batch.at.unwrap_or_default();
                        return Ok(Seen::Snapshot);
                    }
                }
                Message::Changes(batch) => {
                    self.whole = batch.last;
                    for row in &batch.upserted {
                        let row = self.cells(row)?;
                        changes.push((self.rows.upsert(row.clone()), Some(row)));
                    }
                    for key in &batch.removed {
                        let key = self.cells(key)?;
                        changes.push((self.rows.remove(&key), None));
                    }
                    if batch.last {
                        self.at = batch.at.unwrap_or_default();
                        return Ok(Seen::Changes(changes));
                    }
                }
            }
        }
    }

    fn cells(&self, row: &v1::Row) -> Result<Vec<Value>, ClientError> {
        cells(row).ok_or_else(|| self.connection.contract("a cell"))
    }

    /// The next message, or why there is none.
    fn message(&mut self, until: Option<Instant>) -> Result<Result<Message, Seen>, ClientError> {
        let connection = self.connection;
        let messages = &mut self.messages;
        let interrupted = interrupted(&mut self.interrupts);
        let next = async {
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = interrupted => Err(Seen::Interrupted),
                message = messages.message() => Ok(message),
                () = over => Err(Seen::Nothing),
            }
        };
        match connection.wait(next) {
            Err(seen) => Ok(Err(seen)),
            Ok(Err(status)) => Err(connection.error(&status)),
            Ok(Ok(None)) => Err(connection.contract("a subscription without an end")),
            Ok(Ok(Some(response))) => response.message.map(Ok).ok_or_else(|| connection.contract("an empty message")),
        }
    }
}

async fn interrupted(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => std::future::pending().await,
    }
}
