//! `millrace watch`: an answer of a server that keeps itself up to date.
//!
//! On a terminal the table is drawn anew in its place. Elsewhere each change is a line: `+` a new row, `~` one with other
//! values, `-` the key of one that is gone.

use super::question::QuestionArgs;
use super::{SettingsArgs, Usage, place, serving};
use crate::client::{ClientError, Connection, Seen, Watching, query_of};
use crate::ingest::QUARANTINE;
use crate::log;
use crate::output::{Format, Layout, print, terminal};
use clap::Args;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_proto::v1;
use std::io::Write;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace watch sales --group-by category
  millrace watch traffic --addr shop-1:7117 --group-by hour --order-by hour:desc --limit 5
  millrace watch sales --group-by day --for 10s > changes.txt

Ctrl-C ends it. A server that wants a token gets MILLRACE_TOKEN.";

/// Watch an answer change
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// The server; otherwise serve.address of the settings
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// Changes at most so often: 500ms, 2s
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    every: Duration,
    /// End after this time: 10s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    how_long: Option<Duration>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// After a failure that passes.
const TRY_AGAIN: Duration = Duration::from_millis(500);
const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// Lines of a terminal that are not rows: place, borders, header, what is left out, the prompt.
const LINES_MORE: usize = 7;
/// Of a terminal that does not say.
const HEIGHT_DEFAULT: usize = 24;
const CELL_CHARS_MAX: usize = 60;

impl WatchArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let until = self.how_long.map(|time| Instant::now() + time);
        let query = self.question.query(self.question.limit)?;
        if self.question.view == QUARANTINE {
            let instead = "`millrace query quarantine --addr HOST:PORT` has its latest rows, and `millrace watch quality \
                --group-by rule` their counts";
            return Err(Usage(format!("quarantine is a list, and cannot be watched: {instead}")).into());
        }
        let settings = self.settings.load()?.settings;
        let address = serving::address(self.addr.as_deref(), &settings.serve)?;
        let connection = Connection::open(&address, &settings.client)?;
        let request = v1::SubscribeRequest {
            query: Some(query_of(&self.question.view, &query)),
            resume_epoch: 0,
            min_interval: self.every.try_into().ok(),
        };
        let mut watching = connection.watch(request)?;
        let mut shown = Shown { on_terminal: terminal::width().is_some(), query, header: Vec::new() };
        loop {
            // The age on a screen grows though nothing comes.
            let look = shown.on_terminal.then(|| Instant::now() + REDRAW_EVERY);
            let seen = match watching.next(until.into_iter().chain(look).min()) {
                Ok(seen) => seen,
                Err(error) if error.passes() => match self.again(&mut watching, &error, until)? {
                    Some(seen) => seen,
                    None => continue,
                },
                Err(error) => return Err(error.into()),
            };
            let over = until.is_some_and(|until| until <= Instant::now());
            if seen == Seen::Interrupted || over {
                return Ok(());
            }
            if !watching.is_whole() {
                continue;
            }
            shown.show(&watching, &seen, out)?;
            out.flush()?;
        }
    }

    /// Goes on from the last epoch once the server is there again. `Some` where that is not waited for any more.
    fn again(
        &self,
        watching: &mut Watching<'_>,
        error: &ClientError,
        until: Option<Instant>,
    ) -> anyhow::Result<Option<Seen>> {
        log::warning(format!("{error}; trying again"));
        loop {
            let pause = Instant::now() + TRY_AGAIN;
            let ends = until.is_some_and(|until| until <= pause);
            if watching.pause(until.map_or(pause, |until| until.min(pause))) {
                return Ok(Some(Seen::Interrupted));
            }
            if ends {
                return Ok(Some(Seen::Nothing));
            }
            match watching.resume() {
                Ok(()) => return Ok(None),
                Err(error) if error.passes() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What is on the screen, or was printed.
struct Shown {
    on_terminal: bool,
    query: Query,
    header: Vec<String>,
}

impl Shown {
    fn show(&mut self, watching: &Watching<'_>, seen: &Seen, out: &mut dyn Write) -> anyhow::Result<()> {
        let place = format!("{}, {} old", place::of(&watching.at), age(watching.at.epoch));
        if self.on_terminal {
            return self.draw(&place, watching.rows.table(), out);
        }
        writeln!(out, "# {place}")?;
        match seen {
            Seen::Snapshot => {
                let table = self.query.arrange(watching.rows.table())?;
                if self.header != table.columns {
                    writeln!(out, "# {}", table.columns.join("\t"))?;
                    self.header.clone_from(&table.columns);
                }
                table.rows.iter().try_for_each(|row| line('+', row, out))?;
            }
            Seen::Changes(changes) => {
                for (before, after) in changes {
                    match (before, after) {
                        (None, Some(row)) => line('+', row, out)?,
                        (Some(_), Some(row)) => line('~', row, out)?,
                        (Some(row), None) => line('-', row, out)?,
                        (None, None) => {}
                    }
                }
            }
            Seen::Progress | Seen::Nothing | Seen::Interrupted => {}
        }
        Ok(())
    }

    fn draw(&self, place: &str, table: Table, out: &mut dyn Write) -> anyhow::Result<()> {
        const HOME: &str = "\x1b[H";
        const TO_END_OF_LINE: &str = "\x1b[K";
        const BELOW: &str = "\x1b[J";
        let table = self.query.arrange(table)?;
        let height = terminal::height().unwrap_or(HEIGHT_DEFAULT);
        let rows_max = height.saturating_sub(LINES_MORE).max(1);
        let layout = Layout { rows_max, cell_chars_max: CELL_CHARS_MAX, ..Layout::of_stdout() };
        let mut text = Vec::new();
        print(&table, Format::Table, layout, &mut text)?;
        write!(out, "{HOME}{place}{TO_END_OF_LINE}\r\n")?;
        // A table that is folded may be too high all the same: what is below the screen would push the rest up.
        for line in String::from_utf8_lossy(&text).lines().take(height.saturating_sub(2)) {
            write!(out, "{line}{TO_END_OF_LINE}\r\n")?;
        }
        write!(out, "{BELOW}")?;
        Ok(())
    }
}

fn line(sign: char, row: &[Value], out: &mut dyn Write) -> std::io::Result<()> {
    let cells: Vec<String> = row.iter().map(|value| terminal::plain(&value.to_string(), usize::MAX)).collect();
    writeln!(out, "{sign}\t{}", cells.join("\t"))
}

/// How long ago an epoch was.
fn age(epoch: u64) -> String {
    let millis = super::now_ms().saturating_sub(epoch);
    match millis {
        0..10_000 => format!("{millis} ms"),
        10_000..600_000 => format!("{} s", millis / 1_000),
        600_000..172_800_000 => format!("{} min", millis / 60_000),
        _ => format!("{} days", millis / 86_400_000),
    }
}

/// A number with `ms`, `s`, `m` or `h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a time such as 500ms, 10s, 5m or 1h";
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
    let number: u64 = text[..unit].parse().map_err(|_| EXPECTED)?;
    let millis = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED),
    };
    number.checked_mul(millis).filter(|millis| *millis > 0).map(Duration::from_millis).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "5", "s", "0s", "5d", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_are_short() {
        assert!(age(u64::MAX).starts_with("0 ms"));
        assert!(age(0).ends_with(" days"));
    }
}
