//! A caller of a subscription, who folds its messages.

use super::fixture::cells_of;
use millrace::client::{KeyedRows, query_of};
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use millrace_proto::v1::snapshot_batch::Reason;
use millrace_proto::v1::subscribe_response::Message;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::{IntoRequest, Status, Streaming};

pub struct Folded {
    runtime: Handle,
    messages: Streaming<v1::SubscribeResponse>,
    pub rows: KeyedRows,
    pub epoch: u64,
    pub snapshots: Vec<Reason>,
    pub deltas: usize,
}

pub fn subscription(view: &str, query: &Query, resume_epoch: u64) -> v1::SubscribeRequest {
    v1::SubscribeRequest { query: Some(query_of(view, query)), resume_epoch, ..Default::default() }
}

impl Folded {
    pub fn open(
        runtime: &Handle,
        address: &str,
        request: impl IntoRequest<v1::SubscribeRequest>,
    ) -> Result<Folded, Status> {
        let messages = runtime.block_on(async {
            let client = AnalyticsClient::connect(format!("http://{address}")).await;
            client.expect("the server is there").subscribe(request).await
        });
        let (runtime, messages) = (runtime.clone(), messages?.into_inner());
        Ok(Folded { runtime, messages, rows: KeyedRows::default(), epoch: 0, snapshots: Vec::new(), deltas: 0 })
    }

    pub fn message(&mut self) -> Result<Message, Status> {
        let messages = &mut self.messages;
        let message =
            self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), messages.message()).await });
        Ok(message.expect("within 10 s")?.expect("subscriptions end with a status").message.expect("a message"))
    }

    /// Until the rows are whole.
    pub fn step(&mut self) -> Result<(), Status> {
        loop {
            let (at, last) = match self.message()? {
                Message::Progress(progress) => (progress.at, true),
                Message::Snapshot(batch) => {
                    if batch.first {
                        self.snapshots.push(batch.reason());
                        self.rows = KeyedRows::new(batch.columns);
                    }
                    batch.rows.iter().for_each(|row| assert!(self.rows.upsert(cells_of(row)).is_none()));
                    (batch.at, batch.last)
                }
                Message::Changes(batch) => {
                    self.deltas += 1;
                    batch.upserted.iter().for_each(|row| drop(self.rows.upsert(cells_of(row))));
                    // A row that came and went since the last message may be among them.
                    batch.removed.iter().for_each(|key| drop(self.rows.remove(&cells_of(key))));
                    (batch.at, batch.last)
                }
            };
            if last {
                let epoch = at.expect("a place").epoch;
                assert!(epoch >= self.epoch, "epoch {epoch} after {}", self.epoch);
                self.epoch = epoch;
                return Ok(());
            }
        }
    }

    pub fn until(&mut self, epoch: u64) {
        while self.epoch < epoch {
            self.step().expect("it goes on");
        }
    }
}

pub fn sorted(mut table: Table) -> Vec<Vec<Value>> {
    table.rows.sort_by_key(|row| format!("{row:?}"));
    table.rows
}
