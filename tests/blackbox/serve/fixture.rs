//! A generated shop, replayed once; a board that is fed with its rows; a server in front of it; a client.

use super::super::support::{Place, SHOP};
use millrace::client::{cells, query_of, table_of};
use millrace::commands::{Kept, kept};
use millrace::serve::commit::Changed;
use millrace::serve::status::{Engine, EngineStatus, PartitionStatus};
use millrace::serve::{Board, Commit, Publisher, ServeSettings, Server, SourcePositions};
use millrace::settings::Settings;
use millrace_dataflows::query::Query;
use millrace_dataflows::rows::{Change, Measures};
use millrace_dataflows::table::Table;
use millrace_dataflows::views::AnswerContext;
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tonic::transport::Channel;

pub type Client = AnalyticsClient<Channel>;

/// Where a small shop was replayed into `data`.
pub fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::new();
        place.ok(&format!("{SHOP} shop.jsonl"));
        place.replay("shop.jsonl", "data", "");
        place
    })
}

/// What the run has left.
pub fn shop() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        kept(&place().path("data").to_string_lossy(), &Settings::default()).expect("it was just written")
    })
}

/// An engine that only says so.
#[derive(Default)]
pub struct Said {
    pub drained: AtomicBool,
}

pub const SOURCE: &str = "shop";

impl Engine for Said {
    fn status(&self) -> EngineStatus {
        let partition = |partition| PartitionStatus {
            source: SOURCE.to_owned(),
            partition,
            next_offset: 70,
            end_offset: Some(100),
            watermark: Some(1_571_234_567_000_000),
            ..PartitionStatus::default()
        };
        EngineStatus {
            epoch: 9,
            workers: 3,
            partitions: vec![partition(0), partition(1)],
            held: vec![("sessions".to_owned(), 12)],
            ..EngineStatus::default()
        }
    }

    fn drain(&self) {
        self.drained.store(true, SeqCst);
    }

    fn quarantine(&self) -> Table {
        Table::new(self.quarantine_columns())
    }

    fn quarantine_columns(&self) -> Vec<String> {
        ["rule", "offset"].map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        "[store]\ncurrency = \"USD\"\n".to_owned()
    }
}

/// A server and all that is around it.
pub struct Serving {
    pub publisher: Publisher,
    pub server: Server,
    pub engine: Arc<Said>,
    /// What the server takes for now.
    pub clock: Arc<AtomicU64>,
    pub runtime: tokio::runtime::Runtime,
}

pub fn settings() -> ServeSettings {
    ServeSettings {
        address: "127.0.0.1:0".to_owned(),
        subscription_interval_min_ms: 1,
        drain_ms: 2_000,
        ..ServeSettings::default()
    }
}

impl Serving {
    /// Nothing is published yet.
    pub fn new(settings: &ServeSettings) -> Serving {
        let shop = shop();
        let names: Vec<&str> = shop.views.iter().map(|(name, _)| *name).collect();
        let publisher = Publisher::new(&shop.shared, &names, settings.keep_epochs());
        let (engine, clock) = (Arc::<Said>::default(), Arc::new(AtomicU64::new(1_000_000)));
        let of_server = clock.clone();
        let now = Arc::new(move || of_server.load(SeqCst));
        let server = Server::start(settings, publisher.board(), engine.clone(), now).expect("it starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Serving { publisher, server, engine, clock, runtime: runtime.expect("a runtime") }
    }

    /// The whole shop at one epoch.
    pub fn whole(settings: &ServeSettings, epoch: u64) -> Serving {
        let mut serving = Serving::new(settings);
        serving.publish(epoch, whole());
        serving
    }

    pub fn publish(&mut self, epoch: u64, changes: Vec<(usize, Vec<Change>)>) {
        let positions = SourcePositions { source: SOURCE.to_owned(), next_offsets: vec![epoch, epoch / 2] };
        self.publisher.add(Commit {
            epoch,
            at_ms: epoch,
            watermark: shop().watermark,
            positions: Some(Arc::new([positions])),
            // Their texts are in the shop's dictionary.
            names: Vec::new(),
            // By the position of the view among those of the shop.
            changes: changes
                .into_iter()
                .map(|(view, changes)| (shop().views[view].0, Changed::List(changes)))
                .collect(),
        });
        self.publisher.publish();
    }

    pub fn board(&self) -> Arc<Board> {
        self.publisher.board()
    }

    pub fn address(&self) -> String {
        self.server.address.to_string()
    }

    pub fn client(&self) -> Client {
        let address = format!("http://{}", self.address());
        self.runtime.block_on(AnalyticsClient::connect(address)).expect("the server is there")
    }

    /// What a client gets for a question.
    pub fn ask(&self, request: v1::QueryRequest) -> Result<v1::QueryResponse, tonic::Status> {
        let mut client = self.client();
        self.runtime.block_on(client.query(request)).map(tonic::Response::into_inner)
    }
}

pub fn server_status(serving: &Serving) -> v1::ServerStatus {
    let mut client = serving.client();
    let status = serving.runtime.block_on(client.get_status(v1::GetStatusRequest {})).expect("status");
    status.into_inner().server.expect("the server's")
}

/// Every row of the shop as one change.
pub fn whole() -> Vec<(usize, Vec<Change>)> {
    let of_view = |(index, (_, state)): (usize, &(&str, _))| {
        let state: &millrace_dataflows::rows::State = state;
        (index, state.iter().map(|(key, sums)| (*key, 0, sums.to_measures())).collect())
    };
    shop().views.iter().enumerate().map(of_view).collect()
}

/// The rows of the shop, spread over some commits; some come, go and come again. Together they are the whole.
pub fn spread(commits: usize, seed: u64) -> Vec<Vec<(usize, Vec<Change>)>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let views = shop().views.len();
    let mut spread: Vec<Vec<(usize, Vec<Change>)>> = vec![(0..views).map(|view| (view, Vec::new())).collect(); commits];
    for (view, changes) in whole() {
        for (key, _, measures) in changes {
            let mut at = random.random_range(0..commits);
            let negative = Measures(measures.0.iter().map(|value| -value).collect());
            spread[at][view].1.push((key, 0, measures.clone()));
            while random.random_bool(0.2) && at + 1 < commits {
                let gone = random.random_range(at + 1..commits);
                let back = random.random_range(gone..commits);
                spread[gone][view].1.push((key, 0, negative.clone()));
                spread[back][view].1.push((key, 0, measures.clone()));
                at = back;
            }
        }
    }
    spread
}

/// What a view says of the rows of the shop.
pub fn expected(view: &str, query: &Query) -> Result<Table, String> {
    let shop = shop();
    let (_, state) = shop.views.iter().find(|(name, _)| *name == view).expect("a view");
    let context = AnswerContext { shared: shop.shared.clone(), watermark: shop.watermark };
    let view = millrace_dataflows::views::view(view, &shop.shared.context).expect("a view");
    view.answer(state, &context, query).map_err(|error| error.to_string())
}

/// What a view says of a version.
pub fn answer_at(version: &millrace::serve::Published, view: &str, query: &Query) -> Table {
    let rows = version.view(view).expect("a view");
    rows.view.answer(&rows.index, &version.answer_context(), query).expect("a good question")
}

pub fn table(columns: &[v1::Column], rows: &[v1::Row]) -> Table {
    let mut table = table_of(columns);
    table.rows = rows.iter().map(|row| cells(row).expect("cells")).collect();
    table
}

pub fn cells_of(row: &v1::Row) -> Vec<millrace_dataflows::table::Value> {
    cells(row).expect("cells")
}

pub fn request(view: &str, query: &Query) -> v1::QueryRequest {
    v1::QueryRequest { query: Some(query_of(view, query)), ..v1::QueryRequest::default() }
}

pub const VIEWS: [&str; 5] = ["sales", "funnel", "related_products", "traffic", "quality"];

/// Many questions to a view: some fit, some do not.
pub fn questions(view: &str) -> Vec<Query> {
    let shop = shop();
    let made = millrace_dataflows::views::view(view, &shop.shared.context).expect("a view");
    let groups: Vec<&str> = made.group_columns().iter().map(String::as_str).collect();
    let mut questions = vec![Query::default()];
    let first_day = shop.watermark.map_or(0, |time| shop.shared.context.calendar.day(time)) - 3;
    for (index, column) in groups.iter().enumerate() {
        let by = Query::group_by([*column]);
        // Filters on what is there.
        let answer = expected(view, &by).unwrap_or_default();
        let values = answer.rows.iter().filter_map(|row| row.first());
        for value in values.take(2).filter(|_| view != "related_products") {
            questions.push(Query { filters: vec![((*column).to_owned(), value.to_string())], ..Query::default() });
        }
        questions.push(Query { days: Some((first_day, first_day + 1)), ..by.clone() });
        questions.push(Query { limit: Some(3), order_by: vec![((*column).to_owned(), true)], ..by.clone() });
        let last = made.value_columns().last().expect("a value");
        questions.push(Query { order_by: vec![(last.clone(), index % 2 == 0)], ..by.clone() });
        for other in &groups[..index] {
            questions.push(Query::group_by([*column, other]));
        }
        questions.push(by);
    }
    let filter = |column: &str, text: &str| vec![(column.to_owned(), text.to_owned())];
    questions.extend([
        Query { filters: filter("day", "yesterday"), ..Query::default() },
        Query { filters: filter("colour", "red"), ..Query::default() },
        Query { order_by: vec![("colour".to_owned(), false)], ..Query::default() },
        Query::group_by(["colour"]),
        Query { as_of: shop.watermark.map(|time| time + 90_000_000_000), ..Query::group_by([groups[0]]) },
    ]);
    if view == "related_products" {
        let rows = expected(view, &Query::default()).expect("it fits").rows;
        for (row, score) in rows.iter().step_by(rows.len() / 12 + 1).zip(["n_ab", "lift", "llr", "x"].iter().cycle()) {
            let filters = filter("product_id", &row[1].to_string());
            questions.push(Query { filters, rank_by: Some((*score).to_owned()), ..Query::default() });
        }
    }
    questions
}

/// Waits for something that is about to be so.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 5 s: {what}");
}
