//! What a process says on stderr about how it goes. Nothing here fails: that nobody reads stderr any more ends nothing.
//!
//! Who goes on for long says each thing in a line with time and level; a command that answers and ends says it plainly.
//!
//! ```text
//! 2026-12-01T02:39:25.123Z info: serving on 127.0.0.1:7117
//! 2026-12-01T02:39:35.130Z warning: rejected 40 of 40 records (100 %): …
//! ```
//! With `log.format = "json"` each line is an object, whoever says it:
//!
//! ```text
//! {"time":"2026-12-01T02:39:25.123Z","level":"info","message":"serving on 127.0.0.1:7117"}
//! ```

use crate::clock::{Clock, SystemClock};
use crate::serve;
use crate::settings::{LogFormat, without_url_credentials};
use millrace_schema::calendar::rfc3339_micros;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A longer line is cut: what it quotes may come from anywhere.
const CHARS_MAX: usize = 2_000;

/// Lines are objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// Lines that were said, by level.
static LINES: [AtomicU64; Level::ALL.len()] = [const { AtomicU64::new(0) }; Level::ALL.len()];

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// How it goes.
    Info,
    /// What somebody should look at, though it goes on.
    Warning,
    /// Why it ends.
    Error,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Info, Level::Warning, Level::Error];

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// Figures beside a message, by name; a text has them in its words.
pub type Fields = Map<String, Value>;

/// How lines are written from now on, those of the server included.
pub fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Relaxed);
    serve::warn_by(|text| warning(text));
}

/// Whether lines are objects.
pub fn is_json() -> bool {
    IS_JSON.load(Relaxed)
}

/// How many lines were said, by level.
pub fn lines() -> [(Level, u64); Level::ALL.len()] {
    Level::ALL.map(|level| (level, LINES[level as usize].load(Relaxed)))
}

/// How it goes.
pub fn info(text: impl Display) {
    timed(Level::Info, &text.to_string(), Fields::new());
}

/// How it goes, with figures for machines.
pub fn info_with(text: impl Display, fields: Fields) {
    timed(Level::Info, &text.to_string(), fields);
}

/// What somebody should look at, though it goes on.
pub fn warning(text: impl Display) {
    timed(Level::Warning, &text.to_string(), Fields::new());
}

/// A line of a command that ends soon: without a time.
pub fn note(text: impl Display) {
    let text = text.to_string();
    let (level, message) = match text.strip_prefix("warning: ") {
        Some(message) => (Level::Warning, message),
        None => (Level::Info, &*text),
    };
    count(level);
    say(&if is_json() { object(SystemClock.now_ms(), level, message, Fields::new()) } else { one_line(&text) });
}

/// Why the process ends.
pub fn error(text: impl Display) {
    say(&last(&text.to_string()));
}

/// The line that says why the process ends, for whoever writes it.
pub fn last(text: &str) -> String {
    count(Level::Error);
    if is_json() { object(SystemClock.now_ms(), Level::Error, text, Fields::new()) } else { format!("error: {text}") }
}

/// As it may be shown in one line: no control characters, no password in a URL, not too long.
pub fn one_line(text: &str) -> String {
    let text = without_url_credentials(text);
    let harmless = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '·',
        c => c,
    };
    let mut line: String = text.trim_end().chars().take(CHARS_MAX).map(harmless).collect();
    if text.trim_end().chars().nth(CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

fn timed(level: Level, text: &str, fields: Fields) {
    count(level);
    let now_ms = SystemClock.now_ms();
    say(&if is_json() { object(now_ms, level, text, fields) } else { plain(now_ms, level, text) });
}

fn count(level: Level) {
    LINES[level as usize].fetch_add(1, Relaxed);
}

fn plain(now_ms: u64, level: Level, text: &str) -> String {
    format!("{} {}: {}", time(now_ms), level.as_str(), one_line(text))
}

fn object(now_ms: u64, level: Level, text: &str, fields: Fields) -> String {
    /// The order of what is written.
    #[derive(Serialize)]
    struct Line {
        time: String,
        level: Level,
        message: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        fields: Fields,
    }
    let line = Line { time: time(now_ms), level, message: one_line(text), fields };
    serde_json::to_string(&line).expect("texts and numbers by name are JSON")
}

/// UTC, with milliseconds.
fn time(now_ms: u64) -> String {
    let micros = i64::try_from(now_ms).unwrap_or(0).saturating_mul(1_000);
    let time = rfc3339_micros(micros);
    format!("{}Z", time.get(.."2026-12-01T02:39:25.123".len()).unwrap_or(&time))
}

/// In one call, so that lines of several threads do not mix.
fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_796_092_765_123;

    #[test]
    fn a_line_has_time_and_level() {
        let line = plain(NOW, Level::Warning, "a file\nis \x1b[31mgone");
        assert_eq!(line, "2026-12-01T02:39:25.123Z warning: a file is ·[31mgone");
    }

    #[test]
    fn an_object_is_one_line_and_has_what_a_line_has() {
        let fields: Fields = [("lag".to_owned(), 7.into())].into_iter().collect();
        let line = object(NOW, Level::Info, "a \"file\"\nat s3://me:hunter2@shop", fields);
        let expected = r#"{"time":"2026-12-01T02:39:25.123Z","level":"info","message":"a \"file\" at s3://***@shop","fields":{"lag":7}}"#;
        assert_eq!(line, expected);
        assert!(object(NOW, Level::Error, "x", Fields::new()).ends_with(r#""level":"error","message":"x"}"#));
    }

    #[test]
    fn a_line_is_short_and_keeps_secrets() {
        assert_eq!(one_line(&"x".repeat(1 << 20)).chars().count(), CHARS_MAX + 1);
        assert_eq!(one_line("opening s3://me:hunter2@shop/lake"), "opening s3://***@shop/lake");
    }

    #[test]
    fn lines_are_counted_by_level() {
        let count = |level: Level| lines()[level as usize];
        let before = count(Level::Warning).1;
        warning("something to look at");
        note("warning: and this");
        // Other tests say something, too.
        assert!(count(Level::Warning).1 >= before + 2 && count(Level::Warning).0 == Level::Warning);
    }
}
