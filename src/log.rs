//! What a process says on stderr about how it goes. Nothing here fails: that nobody reads stderr any more ends nothing.
//!
//! Who goes on for long says each thing in a line with time and level; a command that answers and ends says it plainly.
//!
//! ```text
//! 2026-12-01T02:39:25.123Z info: serving on 127.0.0.1:7117
//! 2026-12-01T02:39:35.130Z warning: rejected 40 of 40 records (100 %): …
//! ```

use crate::clock::{Clock, SystemClock};
use crate::settings::without_url_credentials;
use millrace_schema::calendar::rfc3339_micros;
use std::fmt::Display;
use std::io::Write;

/// A longer line is cut: what it quotes may come from anywhere.
const CHARS_MAX: usize = 2_000;

/// How it goes.
pub fn info(text: impl Display) {
    say(&timed(SystemClock.now_ms(), "info", &text.to_string()));
}

/// What somebody should look at, though it goes on.
pub fn warning(text: impl Display) {
    say(&timed(SystemClock.now_ms(), "warning", &text.to_string()));
}

/// A line of a command that ends soon: without a time.
pub fn note(text: impl Display) {
    say(&one_line(&text.to_string()));
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

fn timed(now_ms: u64, level: &str, text: &str) -> String {
    let micros = i64::try_from(now_ms).unwrap_or(0).saturating_mul(1_000);
    let time = rfc3339_micros(micros);
    let time = time.get(.."2026-12-01T02:39:25.123".len()).unwrap_or(&time);
    format!("{time}Z {level}: {}", one_line(text))
}

/// In one call, so that lines of several threads do not mix.
fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_and_level() {
        let line = timed(1_796_092_765_123, "warning", "a file\nis \x1b[31mgone");
        assert_eq!(line, "2026-12-01T02:39:25.123Z warning: a file is ·[31mgone");
    }

    #[test]
    fn a_line_is_short_and_keeps_secrets() {
        assert_eq!(one_line(&"x".repeat(1 << 20)).chars().count(), CHARS_MAX + 1);
        assert_eq!(one_line("opening s3://me:hunter2@shop/lake"), "opening s3://***@shop/lake");
    }
}
