//! The binary as others see it: arguments in; exit code, stdout and stderr out. And shops small enough for a debug build.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// Waits until there is what is wanted.
pub fn wait_for<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A folder of its own for a test: files, and the data directories that are replayed into.
pub struct Place {
    folder: TempDir,
}

/// What a replay says it did: read, accepted, duplicates, quarantined, pending.
pub type Accounting = [u64; 5];

impl Place {
    pub fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The binary in this folder, with no setting from outside.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("MILLRACE_");
        std::env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.current_dir(self.folder.path());
        command
    }

    /// Runs a command line; blanks separate arguments.
    pub fn run(&self, line: &str) -> Done {
        self.run_arguments(line.split_whitespace())
    }

    pub fn run_arguments<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Done {
        done(self.command().args(arguments))
    }

    /// Runs a command line with bytes on its stdin.
    pub fn run_with(&self, line: &str, input: &[u8]) -> Done {
        let mut command = self.command();
        command.args(line.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child.stdin.take().expect("it is a pipe").write_all(input).expect("it reads all");
        of_output(child.wait_with_output().expect("it ends"))
    }

    /// What a command line that must succeed prints.
    pub fn ok(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, 0, "{line}: {}", done.err);
        done.out
    }

    /// Runs a command line that must fail; its message must have every one of `words`.
    pub fn fails(&self, line: &str, code: i32, words: &[&str]) -> Done {
        let done = self.run(line);
        assert_eq!(done.code, code, "{line}: {}", done.err);
        for word in words {
            assert!(done.err.contains(word), "{line}: {word:?} is not in: {}", done.err);
        }
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }

    /// `replay PATHS --data-dir DIR …`, which must succeed, however much of it is rejected.
    pub fn replay(&self, paths: &str, data_dir: &str, more: &str) -> Accounting {
        accounting(
            &self.ok(&format!("replay {paths} --data-dir {data_dir} --format json --quiet --fail-above 100 {more}")),
        )
    }

    /// The newest manifest of a lake.
    pub fn manifest(&self, data_dir: &str) -> serde_json::Value {
        let folder = self.path(data_dir).join("_manifests");
        let names = std::fs::read_dir(folder).expect("a lake has manifests").map(|entry| entry.expect("listed").path());
        let newest = names.filter(|path| path.is_file()).max().expect("there is one");
        let text = std::fs::read_to_string(newest).expect("it can be read");
        let (_, body) = text.split_once('\n').expect("it has a head");
        serde_json::from_str(body).expect("JSON")
    }

    pub fn csv(&self, data_dir: &str, question: &str) -> String {
        self.ok(&format!("query {question} --data-dir {data_dir} --format csv"))
    }

    /// Header and rows of a question.
    pub fn table(&self, data_dir: &str, question: &str) -> Answer {
        Answer::of_csv(&self.csv(data_dir, question))
    }
}

fn done(command: &mut Command) -> Done {
    of_output(command.stdin(Stdio::null()).output().expect("the binary starts"))
}

fn of_output(output: std::process::Output) -> Done {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary prints text");
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// From the summary as JSON, whose numbers must balance.
pub fn accounting(summary: &str) -> Accounting {
    let summary: Value = serde_json::from_str(summary).expect("the summary is one JSON object");
    let counts = ["read", "accepted", "duplicates", "quarantined", "pending"];
    let counts = counts.map(|name| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}")));
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "{summary}");
    counts
}

/// An answer as texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Answer {
    pub fn of_csv(text: &str) -> Answer {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let own = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
        let mut rows = reader.records().map(|record| own(record.expect("the rows have one length")));
        Answer { columns: rows.next().expect("a header"), rows: rows.collect() }
    }

    pub fn column(&self, name: &str) -> Vec<&str> {
        let at = self.columns.iter().position(|column| column == name);
        let at = at.unwrap_or_else(|| panic!("no {name} in {:?}", self.columns));
        self.rows.iter().map(|row| row[at].as_str()).collect()
    }

    /// The rows by some of the columns, each joined by blanks.
    pub fn pick(&self, columns: &str) -> Vec<String> {
        let columns: Vec<Vec<&str>> = columns.split_whitespace().map(|name| self.column(name)).collect();
        (0..self.rows.len()).map(|row| columns.iter().map(|c| c[row]).collect::<Vec<_>>().join(" ")).collect()
    }
}

/// A small shop with everything that goes wrong, without conflicts: there the order of arrival decides.
pub const SHOP: &str = "generate --events 2500 --seed 11 --days 4 --products 60 --users 40 --bot-fraction 0.1 \
    --refund-fraction 0.2 --return-line-fraction 0.1 --late-fraction 0.05 --duplicate-fraction 0.05 \
    --conflict-fraction 0 --malformed-fraction 0.03 --recategorised-fraction 0.3 --late-product-fraction 0.2 \
    --currencies USD,JPY,KWD --quiet --to";

/// Questions whose answers do not name the source.
pub const QUESTIONS: [&str; 26] = [
    "sales",
    "sales --group-by day",
    "sales --group-by month",
    "sales --group-by hour,category",
    "sales --group-by product_id",
    "sales --group-by day,product_id,category_as_was",
    "sales --group-by category,category_as_was,currency",
    "sales --group-by category --where currency=JPY",
    "funnel",
    "funnel --group-by day",
    "funnel --group-by month,category",
    "funnel --group-by device",
    "funnel --group-by referrer",
    "related_products",
    "related_products --rank-by n_ab",
    "related_products --rank-by jaccard",
    "related_products --rank-by lift --where kind=bought_together",
    "related_products --rank-by llr",
    "traffic",
    "traffic --group-by minute",
    "traffic --group-by hour",
    "traffic --group-by day",
    "quality",
    "quality --group-by hour",
    "quality --group-by day",
    "quality --group-by rule",
];

/// Every one of [`QUESTIONS`].
pub const OF_ALL: fn(&str) -> bool = |_| true;
/// Those that do not count copies and rejected records.
pub const OF_EVENTS: fn(&str) -> bool = |question| !question.starts_with("quality");

/// The answers to [`QUESTIONS`] of a data directory, or to those of them that are `wanted`.
pub fn answers(place: &Place, data_dir: &str, wanted: fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let questions = QUESTIONS.iter().filter(|question| wanted(question));
    questions.map(|question| (*question, place.csv(data_dir, question))).collect()
}

pub fn check_equal(expected: &[(&str, String)], found: &[(&str, String)], label: &str) {
    assert_eq!(expected.len(), found.len());
    for ((question, expected), (_, found)) in expected.iter().zip(found) {
        if expected != found {
            let differ = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
            let (rows, others) = (expected.lines().count(), found.lines().count());
            panic!("{label}: {question}: {rows} lines, {others} lines; the first that differ: {differ:#?}");
        }
    }
}

/// Where something that a test needs is missing: said aloud, and a failure where everything must be there.
pub fn skip(what: &str) {
    let line = format!("SKIPPED: {what}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{line}");
    // Past the capture of the test harness, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr().lock(), "\n*** {line} ***\n");
}

pub fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
