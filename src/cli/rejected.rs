//! What was not accepted, in a few lines: how much, by which rules, an example of each, and the command to look further.

use crate::client::Connection;
use crate::commands::RejectedRule;
use crate::ingest::QUARANTINE;
use crate::live::RejectExample;
use crate::output::terminal;
use indicatif::HumanCount;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use std::io::Write;

/// Rules that are shown; the command shows the others.
const RULES_SHOWN: usize = 4;
const MESSAGE_CHARS_MAX: usize = 100;
const BYTES_CHARS_MAX: usize = 60;
/// Begins a command.
const LOOK: &str = "  look: ";

/// Of all records that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) rejected: u64,
    pub(super) pending: u64,
}

/// Where rejected records can be asked for, as options of `millrace query`: `--data-dir lake`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn of(option: &str, value: &str) -> Place {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
        let is_word = !value.is_empty() && value.chars().all(is_plain);
        let word = if is_word { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) };
        Place(format!("{option} {word}"))
    }
}

/// [`lines`], as the terminal has room for them. A command is whole: it is there to be copied.
pub(super) fn write(
    counts: Counts,
    rules: &[RejectedRule],
    place: Option<&Place>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    // Of a cut line there is room for the dots.
    let width = terminal::width().map_or(usize::MAX, |width| width - 1);
    for line in lines(counts, rules, place) {
        let is_command = line.starts_with(LOOK);
        writeln!(out, "{}", terminal::plain(&line, if is_command { usize::MAX } else { width }))?;
    }
    Ok(())
}

/// What a server says of the rules. Of what it does not answer now nothing is shown: whoever asks for its status wants that all the same.
pub(super) fn of_server(connection: &Connection) -> Vec<RejectedRule> {
    let Ok((by_rule, _)) = connection.query("quality", &Query::group_by(["rule"])) else { return Vec::new() };
    let mut rules: Vec<RejectedRule> = by_rule.rows.iter().filter_map(|row| rule_of(&by_rule, row)).collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.records));
    for rule in rules.iter_mut().take(RULES_SHOWN) {
        let one = Query { filters: vec![("rule".to_owned(), rule.rule.clone())], limit: Some(1), ..Query::default() };
        let found = connection.query(QUARANTINE, &one);
        rule.example = found.ok().and_then(|(table, _)| example_of(&table, table.rows.first()?));
    }
    rules
}

fn cell<'a>(table: &Table, row: &'a [Value], name: &str) -> Option<&'a Value> {
    row.get(table.column(name)?)
}

fn rule_of(table: &Table, row: &[Value]) -> Option<RejectedRule> {
    let rule = cell(table, row, "rule")?.to_string();
    let records = cell(table, row, "quarantined")?.to_string().parse().ok().filter(|records| *records > 0)?;
    Some(RejectedRule { rule, records, example: None })
}

fn example_of(table: &Table, row: &[Value]) -> Option<RejectExample> {
    let text = |name: &str| cell(table, row, name).map(ToString::to_string);
    Some(RejectExample {
        source: text("source")?,
        partition: text("partition")?.parse().ok()?,
        offset: text("offset")?.parse().ok()?,
        message: text("message")?,
        bytes: text("bytes")?.chars().take(BYTES_CHARS_MAX).collect(),
    })
}

/// A line of each thing to say; none where all was accepted or a duplicate.
pub(super) fn lines(counts: Counts, rules: &[RejectedRule], place: Option<&Place>) -> Vec<String> {
    let mut lines = Vec::new();
    if counts.rejected > 0 {
        lines.push(format!("rejected {}", of_read(counts.rejected, counts.read)));
        lines.extend(rules.iter().take(RULES_SHOWN).map(|rule| format!("  {}", line(rule))));
        if rules.len() > RULES_SHOWN {
            let rest: u64 = rules[RULES_SHOWN..].iter().map(|rule| rule.records).sum();
            lines.push(format!("  {} by {} other rules", HumanCount(rest), rules.len() - RULES_SHOWN));
        }
        if let Some(Place(place)) = place {
            let rule = rules.first().map_or(String::new(), |first| format!(" --where rule={}", first.rule));
            lines.push(format!("{LOOK}millrace query quarantine {place}{rule}"));
        }
    }
    if counts.pending > 0 {
        lines.push(format!(
            "pending {}: older than the horizons; a repair merges them",
            of_read(counts.pending, counts.read)
        ));
        if let Some(Place(place)) = place {
            lines.push(format!("{LOOK}millrace query quality {place} --group-by day,source"));
        }
    }
    lines
}

/// `12 of 3,400 records (0.35 %)`.
pub(super) fn of_read(part: u64, read: u64) -> String {
    format!("{} of {} records ({})", HumanCount(part), HumanCount(read), share(part, read))
}

/// Never 0 % of something, nor 100 % of less than all.
fn share(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100 %".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.01 => "less than 0.01 %".to_owned(),
        ..1.0 => format!("{percent:.2} %"),
        _ => format!("{:.1} %", percent.min(99.9)),
    }
}

fn line(rejected: &RejectedRule) -> String {
    let RejectedRule { rule, records, example } = rejected;
    let count = HumanCount(*records);
    let Some(example) = example else { return format!("{count} {rule}") };
    let message = terminal::plain(&example.message, MESSAGE_CHARS_MAX);
    let bytes = terminal::plain(&example.bytes, BYTES_CHARS_MAX);
    let (source, partition, offset) =
        (terminal::plain(&example.source, MESSAGE_CHARS_MAX), example.partition, example.offset);
    format!("{count} {rule}: {message}; {source}, partition {partition}, offset {offset}: {bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::RejectExample;

    fn rule(rule: &str, records: u64, message: &str) -> RejectedRule {
        let example = RejectExample {
            source: "shop.jsonl".to_owned(),
            partition: 0,
            offset: 7,
            message: message.to_owned(),
            bytes: "{\"a\":\n1}".to_owned(),
        };
        RejectedRule { rule: rule.to_owned(), records, example: (!message.is_empty()).then_some(example) }
    }

    #[test]
    fn the_commonest_rules_come_with_an_example() {
        let counts = Counts { read: 2_000, rejected: 1_990, pending: 1 };
        let rules = [
            rule("missing_field", 1_900, "no \u{1b}event_id"),
            rule("wrong_type", 50, ""),
            rule("too_large", 20, ""),
            rule("future_time", 10, ""),
            rule("id_conflict", 6, ""),
            rule("duplicate_key", 4, ""),
        ];
        let expected = [
            "rejected 1,990 of 2,000 records (99.5 %)",
            "  1,900 missing_field: no ·event_id; shop.jsonl, partition 0, offset 7: {\"a\":·1}",
            "  50 wrong_type",
            "  20 too_large",
            "  10 future_time",
            "  10 by 2 other rules",
            "  look: millrace query quarantine --data-dir 'my shop' --where rule=missing_field",
            "pending 1 of 2,000 records (0.05 %): older than the horizons; a repair merges them",
            "  look: millrace query quality --data-dir 'my shop' --group-by day,source",
        ];
        assert_eq!(lines(counts, &rules, Some(&Place::of("--data-dir", "my shop"))), expected);
        assert_eq!(lines(Counts { read: 5, ..Counts::default() }, &[], None), [""; 0]);
    }

    #[test]
    fn a_long_record_is_cut() {
        let rules = [rule("missing_field", 3, &"long ".repeat(1_000))];
        let lines = lines(Counts { read: 3, rejected: 3, pending: 0 }, &rules, None);
        assert!(lines.iter().all(|line| line.chars().count() < 300), "{lines:?}");
    }

    #[test]
    fn shares_are_honest() {
        let shares = [(0, 5), (1, 1_000_000), (1, 3_000), (1, 8), (9_999, 10_000), (7, 7), (0, 0)];
        let expected = ["0 %", "less than 0.01 %", "0.03 %", "12.5 %", "99.9 %", "100 %", "100 %"];
        assert_eq!(shares.map(|(part, whole)| share(part, whole)), expected);
    }
}
