//! Stories as text.

use crate::support::{Line, context_of, time};
use millrace_dataflows::query::Query;
use millrace_dataflows::settings::{FunnelSettings, FunnelUnit, RelatedSettings, ViewContext};
use millrace_schema::Place;
use millrace_schema::calendar::parse_day;

pub struct Story {
    pub context: ViewContext,
    pub lines: Vec<Line>,
    /// Every line but the expected ones, with what it asks for.
    pub written: Vec<(String, Option<Asked>)>,
}

pub enum Asked {
    Show { view: String, query: Query, columns: Vec<String>, epoch: u64 },
    Changes { view: String, epoch: u64 },
}

/// # Panics
/// Where the story makes no sense.
pub fn parse(text: &str) -> Story {
    let (mut zone, mut funnel, mut related) = ("UTC".to_owned(), FunnelSettings::default(), RelatedSettings::default());
    let mut story = Story { context: crate::support::context(), lines: Vec::new(), written: Vec::new() };
    let (mut epoch, mut offsets, mut partition, mut late_by) = (0, [0; 3], 0_u16, None);
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('>')) {
        let mut asked = None;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied() {
            None | Some("#") => {}
            Some(_) if line.starts_with("  ") => {
                let offset = &mut offsets[usize::from(partition)];
                *offset += 1;
                let (text, at) = record(line.trim(), number);
                let received_at = late_by.filter(|_| !text.contains("updated_at")).map(|by: i64| at + by);
                story.lines.push(Line {
                    text,
                    place: Place::new(partition, *offset),
                    epoch,
                    received_at,
                    pending: false,
                    was_pending: false,
                });
            }
            Some("settings") => {
                for (key, value) in pairs(&words[1..]) {
                    let count = || value.parse().expect("a number");
                    match key {
                        "zone" => zone = value.to_owned(),
                        "unit" if value == "user" => funnel.unit = FunnelUnit::User,
                        "window" => funnel.window = value.to_owned(),
                        "max_events" => funnel.max_events_per_session = count(),
                        "list_length" => related.list_length = count(),
                        "max_products" => related.max_products_per_session = count(),
                        "candidates" => related.candidates = count(),
                        "min_together" => related.min_together = value.parse().expect("a number"),
                        _ => panic!("line {number}: no setting is called {key}"),
                    }
                }
            }
            Some(command @ ("insert" | "late")) => {
                let option = |name| pairs(&words[1..]).find(|(key, _)| *key == name).map(|(_, value)| value);
                partition = option("partition").map_or(0, |value| value.parse().expect("0, 1 or 2"));
                late_by = (command == "late").then(|| micros(option("by").expect("late by=<how much>")));
            }
            Some("advance") => epoch += 1,
            Some("show") => {
                let (query, columns) = query(&words[2..]);
                asked = Some(Asked::Show { view: words[1].to_owned(), query, columns, epoch: epoch - 1 });
            }
            Some("changes") => asked = Some(Asked::Changes { view: words[1].to_owned(), epoch: epoch - 1 }),
            Some(word) => panic!("line {number}: no command is called {word}"),
        }
        story.written.push((line.to_owned(), asked));
    }
    assert!(story.lines.iter().all(|line| line.epoch < epoch), "the last records are not advanced past");
    story.context = context_of(&zone, &funnel, &related);
    story
}

fn pairs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().map(|word| word.split_once('=').unwrap_or_else(|| panic!("{word:?} is not key=value")))
}

fn micros(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => panic!("{text:?} has no unit"),
    };
    number.parse::<i64>().expect("a number") * seconds * 1_000_000
}

fn query(words: &[&str]) -> (Query, Vec<String>) {
    let (mut query, mut columns) = (Query::default(), Vec::new());
    let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<String>>();
    for (key, value) in pairs(words) {
        match key {
            "by" => query.group_by = list(value),
            "columns" => columns = list(value),
            "rank_by" => query.rank_by = Some(value.to_owned()),
            "as_of" => query.as_of = Some(time(&full_time(value))),
            "where" => {
                let (column, text) = value.split_once('=').expect("where=column=text");
                query.filters.push((column.to_owned(), text.to_owned()));
            }
            "days" => {
                let (first, last) = value.split_once("..").expect("days=<first>..<last>");
                let day = |text: &str| parse_day(text).expect("a day");
                query.days = Some((day(first), day(last)));
            }
            _ => panic!("a question has no {key}"),
        }
    }
    (query, columns)
}

/// `1T07:30` is 07:30 UTC on 1 October 2019, `11-01T07:30:05` is in November.
fn full_time(text: &str) -> String {
    let (day, clock) = text.split_once('T').unwrap_or_else(|| panic!("{text:?} is not a time"));
    let day = if day.contains('-') { day.to_owned() } else { format!("10-{day:0>2}") };
    let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
    format!("2019-{day}T{clock}{seconds}Z")
}

/// A record as JSON, and its time.
fn record(text: &str, number: usize) -> (String, i64) {
    if text.starts_with('{') {
        return (text.to_owned(), 0);
    }
    let (kind, rest) = text.split_once(' ').expect("a kind and its fields");
    let words: Vec<&str> = rest.split_whitespace().collect();
    let dimension = ["product", "user", "inventory"].contains(&kind);
    let mut fields = vec![("event_type".to_owned(), quoted(kind))];
    let mut at = 0;
    for (key, value) in pairs(&words) {
        let (key, value) = match key {
            "at" => {
                at = time(&full_time(value));
                (if dimension { "updated_at" } else { "event_time" }, quoted(&full_time(value)))
            }
            "id" => ("event_id", quoted(value)),
            "session" => ("session_id", quoted(value)),
            "user" => ("user_id", quoted(value)),
            "product" => ("product_id", quoted(value)),
            "order" => ("order_id", quoted(value)),
            "page" => ("page_type", quoted(value)),
            "paid" => ("price_paid", value.to_owned()),
            "unit" => ("unit_price", value.to_owned()),
            "quantity" | "amount" | "deleted" | "on_hand" => (key, value.to_owned()),
            _ => (key, quoted(value)),
        };
        fields.push((key.to_owned(), value));
    }
    let mut default = |key: &str, value: String| {
        if !fields.iter().any(|(known, _)| known == key) {
            fields.push((key.to_owned(), value));
        }
    };
    if !dimension {
        default("event_id", quoted(&format!("line {number}")));
    }
    if !dimension && kind != "refund" {
        default("session_id", quoted("a"));
    }
    if !["page_view", "checkout_started"].contains(&kind) && !dimension {
        default("quantity", "1".to_owned());
    }
    let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{}:{value}", quoted(&key))).collect();
    (format!("{{{}}}", fields.join(",")), at)
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
