//! Progress of long work, on stderr: a bar where somebody looks, a line now and then where nobody does.

use crate::commands::{Progress, Silent};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(10);
const DRAWS_PER_SECOND: u8 = 8;

/// What suits stderr. `work` is the word in front: `replay`.
pub(super) fn of_stderr(work: &'static str, quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new(work))
    } else {
        let start = Instant::now();
        Box::new(Lines::new(work, move || start.elapsed(), std::io::stderr()))
    }
}

struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(work: &'static str) -> Bar {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(work);
        bar.set_style(style("{spinner} {prefix} {elapsed_precise} {bytes} at {bytes_per_sec} {msg}"));
        Bar { bar }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates in this file are well formed")
}

impl Progress for Bar {
    fn total(&self, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.bar.set_length(bytes);
            let template = "{prefix} {elapsed_precise} {wide_bar} {bytes} of {total_bytes}, {eta} left, {msg}";
            self.bar.set_style(style(template));
        }
    }

    fn advance(&self, bytes_read: u64, records: u64, epoch: u64) {
        self.bar.set_message(counts(records, epoch, self.bar.elapsed()));
        self.bar.set_position(bytes_read);
    }

    fn finish(&self) {
        // The summary follows: nothing stays of the bar.
        self.bar.finish_and_clear();
    }
}

/// A line every [`LINE_EVERY`]: for logs.
struct Lines<C, W> {
    work: &'static str,
    /// The time since the start.
    clock: C,
    state: Mutex<LinesState<W>>,
}

struct LinesState<W> {
    out: W,
    total_bytes: Option<u64>,
    next: Duration,
}

impl<C: Fn() -> Duration, W: Write> Lines<C, W> {
    fn new(work: &'static str, clock: C, out: W) -> Lines<C, W> {
        Lines { work, clock, state: Mutex::new(LinesState { out, total_bytes: None, next: LINE_EVERY }) }
    }

    fn state(&self) -> MutexGuard<'_, LinesState<W>> {
        // A panic while printing leaves nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Fn() -> Duration + Send + Sync, W: Write + Send> Progress for Lines<C, W> {
    fn total(&self, bytes: Option<u64>) {
        self.state().total_bytes = bytes;
    }

    fn advance(&self, bytes_read: u64, records: u64, epoch: u64) {
        let elapsed = (self.clock)();
        let mut state = self.state();
        if elapsed < state.next {
            return;
        }
        state.next = elapsed + LINE_EVERY;
        let of = match state.total_bytes {
            Some(total) => format!(" of {}{}", HumanBytes(total), left(bytes_read, total, elapsed)),
            None => String::new(),
        };
        let (work, read, counts) = (self.work, HumanBytes(bytes_read), counts(records, epoch, elapsed));
        // Progress that cannot be shown is no reason to stop.
        let _ = writeln!(state.out, "{work}: {read}{of}, {counts}");
    }

    fn finish(&self) {}
}

fn left(read: u64, total: u64, elapsed: Duration) -> String {
    if read == 0 || read > total {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() * (total - read) as f64 / read as f64;
    format!(", {:#} left", HumanDuration(Duration::from_secs_f64(seconds)))
}

fn counts(records: u64, epoch: u64, elapsed: Duration) -> String {
    let rate = records as f64 / elapsed.as_secs_f64().max(0.001);
    let epoch = if epoch == 0 { String::new() } else { format!(", epoch {epoch}") };
    format!("{} records, {}/s{epoch}", HumanCount(records), HumanCount(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_line_every_ten_seconds() {
        let seconds = AtomicU64::new(0);
        let clock = || Duration::from_secs(seconds.load(Ordering::Relaxed));
        let lines = Lines::new("replay", clock, Vec::new());
        lines.total(Some(4 << 20));
        for second in 0..25 {
            seconds.store(second, Ordering::Relaxed);
            lines.advance(second * 100_000, second * 1_000, second / 5);
        }
        lines.finish();
        let printed = String::from_utf8(lines.state.into_inner().expect("not poisoned").out).expect("text");
        let expected = "replay: 976.56 KiB of 4.00 MiB, 32s left, 10,000 records, 1,000/s, epoch 2\n\
                        replay: 1.91 MiB of 4.00 MiB, 22s left, 20,000 records, 1,000/s, epoch 4\n";
        assert_eq!(printed, expected);
    }
}
