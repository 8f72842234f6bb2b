//! Rows, pages and messages of subscriptions, as the contract lays them out.
//!
//! Field numbers are those of `proto/millrace/v1/*.proto`.

use super::at::Stamps;
use super::wire;
use crate::serve::read::live::{Message, MessageKind, Messages, Reason};
use crate::serve::read::{Codec, Columns, Page, Place, RowRole};
use bytes::Bytes;
use millrace_dataflows::table::Value;
use millrace_proto::Encoded;
use millrace_proto::v1::{QueryResponse, SubscribeResponse, snapshot_batch};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio_stream::Stream;
use tonic::Status;

/// Of `QueryResponse`.
const PAGE_COLUMNS: u32 = 2;
const PAGE_ROWS: u32 = 3;
const NEXT_PAGE_TOKEN: u32 = 4;
const TOTAL_ROWS: u32 = 5;
/// Of `Column`.
const NAME: u32 = 1;
const GROUP: u32 = 2;
/// Of `SubscribeResponse`.
const SNAPSHOT: u32 = 1;
const CHANGES: u32 = 2;
const PROGRESS: u32 = 3;
/// Of `SnapshotBatch`.
const REASON: u32 = 2;
const FIRST: u32 = 3;
const SNAPSHOT_LAST: u32 = 4;
const SNAPSHOT_COLUMNS: u32 = 5;
const SNAPSHOT_ROWS: u32 = 6;
/// Of `ChangeBatch`.
const CHANGE_LAST: u32 = 2;
const UPSERTED: u32 = 3;
const REMOVED: u32 = 4;
const CHANGE_COLUMNS: u32 = 5;
/// Of `Progress`.
const PROGRESS_COLUMNS: u32 = 2;

/// The codec of gRPC.
pub struct Proto(pub Arc<Stamps>);

impl Codec for Proto {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn put_row(&self, out: &mut Vec<u8>, role: RowRole, key: &[Value], values: &[Value]) {
        let field = match role {
            RowRole::Page => PAGE_ROWS,
            RowRole::Snapshot => SNAPSHOT_ROWS,
            RowRole::Upserted => UPSERTED,
            RowRole::Removed => REMOVED,
        };
        wire::put_message(out, field, |out| {
            wire::put_values(out, key);
            wire::put_values(out, values);
        });
    }

    fn place(&self, place: &Place) -> Bytes {
        self.0.of_place(place)
    }
}

/// A page; `at` is where it is true.
pub fn page(at: Bytes, page: Page, next_page_token: &str) -> Encoded<QueryResponse> {
    let mut rest = Vec::new();
    put_columns(&mut rest, PAGE_COLUMNS, &page.columns);
    if !next_page_token.is_empty() {
        wire::put_bytes(&mut rest, NEXT_PAGE_TOKEN, next_page_token.as_bytes());
    }
    wire::put_int(&mut rest, TOTAL_ROWS, page.total_rows as u64);
    // What is large comes last: whatever puts them together makes room for it once.
    Encoded::of_pieces([at, rest.into(), page.rows])
}

fn put_columns(out: &mut Vec<u8>, field: u32, columns: &Columns) {
    for (index, name) in columns.names.iter().enumerate() {
        wire::put_message(out, field, |out| {
            wire::put_bytes(out, NAME, name.as_bytes());
            if index < columns.groups {
                wire::put_int(out, GROUP, 1);
            }
        });
    }
}

/// Typed rows: the cells of each under the numbers of its fields.
pub fn put_typed_rows(out: &mut Vec<u8>, field: u32, rows: &[Vec<Value>], fields: &[u32]) {
    for row in rows {
        wire::put_message(out, field, |out| {
            row.iter().zip(fields).for_each(|(value, &field)| wire::put_cell(out, field, value));
        });
    }
}

/// What a subscription sends.
pub struct Sent(pub Messages);

impl Stream for Sent {
    type Item = Result<Encoded<SubscribeResponse>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.0).poll_next(context));
        Poll::Ready(next.map(|told| told.map(message).map_err(Status::from)))
    }
}

fn message(told: Message) -> Encoded<SubscribeResponse> {
    let Message { epoch: _, place, kind, columns, rows, first, last } = told;
    let mut head = place.to_vec();
    let (field, of_columns) = match kind {
        MessageKind::Snapshot(reason) => {
            wire::put_int(&mut head, REASON, reason_of(reason) as u64);
            wire::put_int(&mut head, FIRST, u64::from(first));
            wire::put_int(&mut head, SNAPSHOT_LAST, u64::from(last));
            (SNAPSHOT, SNAPSHOT_COLUMNS)
        }
        MessageKind::Changes => {
            wire::put_int(&mut head, CHANGE_LAST, u64::from(last));
            (CHANGES, CHANGE_COLUMNS)
        }
        MessageKind::Progress => (PROGRESS, PROGRESS_COLUMNS),
    };
    if let Some(columns) = columns {
        put_columns(&mut head, of_columns, &columns);
    }
    let mut start = Vec::with_capacity(head.len() + 8);
    wire::put_head(&mut start, field, head.len() + rows.len());
    start.extend_from_slice(&head);
    Encoded::of_pieces([start.into(), rows, Bytes::new()])
}

fn reason_of(reason: Reason) -> snapshot_batch::Reason {
    match reason {
        Reason::New => snapshot_batch::Reason::New,
        Reason::Expired => snapshot_batch::Reason::Expired,
        Reason::ColumnsChanged => snapshot_batch::Reason::ColumnsChanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::v1;
    use millrace_proto::v1::subscribe_response::Message as Sent;
    use prost::Message as _;

    fn place() -> Place {
        Place { epoch: 7, watermark: Some(1_500_000), positions: Arc::default(), restored: true }
    }

    /// What a caller reads of the rows of one message.
    fn read(told: Message) -> Sent {
        let bytes = message(told).encode_to_vec();
        SubscribeResponse::decode(&*bytes).expect("it is one").message.expect("it says something")
    }

    fn told(kind: MessageKind, role: RowRole, columns: bool) -> Message {
        let proto = Proto(Arc::default());
        let (key, values) = ([Value::text("a")], [Value::Int(3), Value::Null]);
        let mut rows = Vec::new();
        proto.put_row(&mut rows, role, &key, if role == RowRole::Removed { &[] } else { &values });
        let names = ["key", "count", "none"].map(str::to_owned).to_vec();
        let columns = columns.then(|| Arc::new(Columns { names, groups: 1 }));
        let place = proto.place(&place());
        Message { epoch: 7, place, kind, columns, rows: rows.into(), first: true, last: false }
    }

    #[test]
    fn messages_are_what_the_contract_reads() {
        let at = Some(super::super::at::at(&place()));
        let cells = |row: &v1::Row| row.values.iter().map(wire::read).collect::<Vec<_>>();
        let (key, row) = (vec![Value::text("a")], vec![Value::text("a"), Value::Int(3), Value::Null]);
        match read(told(MessageKind::Snapshot(Reason::Expired), RowRole::Snapshot, true)) {
            Sent::Snapshot(batch) => {
                assert_eq!((&batch.at, batch.reason()), (&at, snapshot_batch::Reason::Expired));
                assert!(batch.first && !batch.last);
                let columns: Vec<(&str, bool)> = batch.columns.iter().map(|c| (&*c.name, c.group)).collect();
                assert_eq!(columns, [("key", true), ("count", false), ("none", false)]);
                assert_eq!(batch.rows.iter().map(cells).collect::<Vec<_>>(), vec![row.clone()]);
            }
            other => panic!("{other:?}"),
        }
        match read(told(MessageKind::Changes, RowRole::Upserted, false)) {
            Sent::Changes(batch) => {
                assert_eq!((&batch.at, batch.last, batch.columns.len()), (&at, false, 0));
                assert_eq!(batch.upserted.iter().map(cells).collect::<Vec<_>>(), vec![row.clone()]);
            }
            other => panic!("{other:?}"),
        }
        match read(told(MessageKind::Changes, RowRole::Removed, true)) {
            Sent::Changes(batch) => {
                assert_eq!((batch.columns.len(), batch.upserted.len()), (3, 0));
                assert_eq!(batch.removed.iter().map(cells).collect::<Vec<_>>(), [key]);
            }
            other => panic!("{other:?}"),
        }
        match read(Message { rows: Bytes::new(), ..told(MessageKind::Progress, RowRole::Upserted, true) }) {
            Sent::Progress(progress) => assert_eq!((progress.at, progress.columns.len()), (at, 3)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_are_what_the_contract_reads() {
        let proto = Proto(Arc::default());
        let mut rows = Vec::new();
        proto.put_row(&mut rows, RowRole::Page, &[Value::text("a")], &[Value::Float(0.5)]);
        let columns = Arc::new(Columns { names: vec!["key".to_owned(), "share".to_owned()], groups: 1 });
        let answer = Page { columns, rows: rows.into(), next: None, total_rows: 9 };
        let bytes = page(proto.place(&place()), answer, "token").encode_to_vec();
        let answer = QueryResponse::decode(&*bytes).expect("it is one");
        assert_eq!((answer.at.map(|at| at.epoch), answer.total_rows, &*answer.next_page_token), (Some(7), 9, "token"));
        assert_eq!(answer.columns.iter().map(|column| column.group).collect::<Vec<_>>(), [true, false]);
        let cells: Vec<Value> = answer.rows[0].values.iter().map(wire::read).collect();
        assert_eq!(cells, [Value::text("a"), Value::Float(0.5)]);
    }
}
