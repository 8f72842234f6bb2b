//! What a person sees of the demonstration: one version of all views on one screen.

use crate::cli::{Format, Layout, print};
use crate::serve::Published;
use crate::serve::status::EngineStatus;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::quality::{Accounting, warned};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Rows of the tables on the screen.
const CATEGORIES: usize = 6;
const RELATED: usize = 5;
const BAR: usize = 32;

/// Remembers what it needs to tell rates.
pub struct Screen {
    last: Option<(Instant, i64)>,
    rate: f64,
}

impl Default for Screen {
    fn default() -> Screen {
        Screen { last: None, rate: 0.0 }
    }
}

impl Screen {
    /// One line: how it goes.
    pub fn header(&mut self, version: &Published, status: &EngineStatus, now_ms: u64) -> String {
        let read = version.view("quality").map_or(0, |rows| Accounting::of(&rows.index).read);
        let now = Instant::now();
        if let Some((then, before)) = self.last
            && now - then >= Duration::from_millis(400)
        {
            self.rate = (read - before) as f64 / (now - then).as_secs_f64();
            self.last = Some((now, read));
        }
        self.last.get_or_insert((now, read));
        let lag: u64 = status
            .partitions
            .iter()
            .map(|partition| partition.end_offset.unwrap_or(0).saturating_sub(partition.next_offset))
            .sum();
        let at = match version.epoch {
            0 => "no epoch yet".to_owned(),
            epoch => format!("epoch {epoch} · {} ms old", now_ms.saturating_sub(epoch)),
        };
        format!("{at} · {:.0} events/s · {read} read · lag {lag} · {} MB", self.rate, status.memory_bytes >> 20)
    }

    /// The tables below the header.
    pub fn body(&self, version: &Published) -> String {
        let mut text = String::new();
        self.funnel(version, &mut text);
        self.sales(version, &mut text);
        self.related(version, &mut text);
        self.quality(version, &mut text);
        text
    }

    fn funnel(&self, version: &Published, text: &mut String) {
        let Some(table) = ask(version, "funnel", &Query::default()) else { return };
        let Some(row) = table.rows.first() else { return };
        let int = |name: &str| match table.column(name).map(|at| &row[at]) {
            Some(Value::Int(count)) => *count,
            _ => 0,
        };
        let steps = &version.shared.context.funnel.steps;
        let first = int(&format!("ordered_{}", steps[0].name)).max(1);
        let _ = writeln!(text, "\nfunnel of {} sessions", int("sessions"));
        for step in steps {
            let count = int(&format!("ordered_{}", step.name));
            let share = count as f64 / first as f64;
            let bar = "█".repeat((share * BAR as f64).round() as usize);
            let _ = writeln!(text, "  {:<14} {count:>9}  {:>5.1} %  {bar}", step.name, share * 100.0);
        }
    }

    fn sales(&self, version: &Published, text: &mut String) {
        let by_category = Query {
            order_by: vec![("net_sales".to_owned(), true)],
            limit: Some(CATEGORIES),
            ..Query::group_by(["category"])
        };
        let Some(mut table) = ask(version, "sales", &by_category) else { return };
        if let Some(mut total) = ask(version, "sales", &Query::default())
            && let Some(mut row) = total.rows.pop()
        {
            row.insert(0, Value::text("all"));
            table.rows.push(row);
        }
        let columns = ["category", "orders", "units", "order_revenue", "returns", "net_sales"];
        let _ = writeln!(text, "\nsales");
        show(&pick(&table, &columns), text);
    }

    fn related(&self, version: &Published, text: &mut String) {
        let most =
            Query { order_by: vec![("units".to_owned(), true)], limit: Some(1), ..Query::group_by(["product_id"]) };
        let Some(table) = ask(version, "sales", &most) else { return };
        let Some(product) = table.rows.first().and_then(|row| row.first()).map(ToString::to_string) else { return };
        let filters = [("kind", "viewed_together"), ("product_id", product.as_str())];
        let related = Query {
            filters: filters.map(|(column, text)| (column.to_owned(), text.to_owned())).to_vec(),
            limit: Some(RELATED),
            ..Query::default()
        };
        let Some(table) = ask(version, "related_products", &related) else { return };
        let _ = writeln!(text, "\nviewed together with {product}, the product sold most");
        show(&pick(&table, &["rank", "related_id", "n_ab", "cosine", "lift"]), text);
    }

    fn quality(&self, version: &Published, text: &mut String) {
        let Some(rows) = version.view("quality") else { return };
        let Accounting { read, accepted, duplicates, quarantined, pending } = Accounting::of(&rows.index);
        let _ = writeln!(
            text,
            "\n{read} read = {accepted} accepted + {duplicates} duplicates + {quarantined} quarantined + {pending} pending"
        );
        let warnings: Vec<String> =
            warned(&rows.index).into_iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        if !warnings.is_empty() {
            let _ = writeln!(text, "warned: {}", warnings.join(", "));
        }
    }
}

fn ask(version: &Published, view: &str, query: &Query) -> Option<Table> {
    crate::serve::read::answer(version, view, query).ok()
}

fn pick(table: &Table, columns: &[&str]) -> Table {
    let places: Vec<usize> = columns.iter().filter_map(|name| table.column(name)).collect();
    let mut picked = Table::new(places.iter().map(|&place| table.columns[place].as_str()));
    picked.rows = table.rows.iter().map(|row| places.iter().map(|&place| row[place].clone()).collect()).collect();
    picked
}

fn show(table: &Table, text: &mut String) {
    let mut out = Vec::new();
    // Memory takes all.
    let _ = print(table, Format::Table, Layout::of_stdout(), &mut out);
    text.push_str(&String::from_utf8_lossy(&out));
}
