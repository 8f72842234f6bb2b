//! Starts, kills, starts again.

use super::super::support::Place;
use super::input::Input;
use millrace::checkpoint::crash::POINTS;
use millrace::client::{ClientSettings, Connection};
use millrace_dataflows::query::Query;
use millrace_parts::ports::Lease;
use millrace_proto::v1;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often `MILLTEST_CRASHES` asks for, or so often.
pub fn kills(by_default: usize) -> usize {
    std::env::var("MILLTEST_CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(by_default)
}

/// A commit point that is not reached in this time is not waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
const WORKERS: [usize; 3] = [1, 3, 2];

pub struct Crashes<'a> {
    place: &'a Place,
    input: RefCell<Input>,
    lake: &'a str,
    environment: Vec<(String, String)>,
    settings: Vec<String>,
    points: Vec<&'static str>,
    port: Lease,
}

impl<'a> Crashes<'a> {
    pub fn new(place: &'a Place, input: Input, lake: &'a str, environment: &[(&str, &str)]) -> Crashes<'a> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = ["horizons.deduplication=unlimited", "horizons.sessions=unlimited"].map(str::to_owned).into();
        let port = Lease::any().expect("a free port");
        Crashes { place, input: RefCell::new(input), lake, environment, settings, points: POINTS.to_vec(), port }
    }

    /// With other settings than horizons without end.
    pub fn under(mut self, settings: &[&str]) -> Self {
        self.settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        self
    }

    /// At other points than those of a commit.
    pub fn at(mut self, points: &[&'static str]) -> Self {
        self.points = points.to_vec();
        self
    }

    fn command(&self) -> Command {
        let mut command = self.place.command();
        self.environment.iter().for_each(|(name, value)| {
            command.env(name, value);
        });
        command
    }

    fn engine(&self, workers: usize) -> Command {
        let mut command = self.command();
        command.args(["run", "--quiet", "--format", "json"]);
        let mut settings = self.input.borrow().settings.clone();
        settings.extend([
            format!("lake.url={}", self.lake),
            format!("live.workers={workers}"),
            format!("serve.address=127.0.0.1:{}", self.port.port()),
            "lake.checkpoint_ms=40".to_owned(),
            "lake.target_file_bytes=200000".to_owned(),
            "live.epoch_records=60".to_owned(),
        ]);
        settings.extend(self.settings.iter().cloned());
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command
    }

    /// What a command line that must succeed prints.
    pub fn ok(&self, line: &str) -> String {
        let output = self.command().env_remove("MILLTEST_UNRELIABLE").args(line.split_whitespace()).output();
        let output = output.expect("the binary starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Kills so often, then reads to the end. When, and whether at a point, comes from `seed`; the points have their turns.
    pub fn run(&self, kills: usize, seed: u64) -> String {
        let mut random = SmallRng::seed_from_u64(seed);
        let reader = Reader::start(self.port.port());
        let mut killed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut in_turn = self.points.iter().cycle();
        for kill in 0..kills {
            self.input.borrow_mut().grow(kills + 1 - kill);
            let mut command = self.engine(WORKERS[kill % WORKERS.len()]);
            let point = random.random_bool(0.6).then(|| *in_turn.next().expect("it goes round"));
            if let Some(point) = point {
                command.env("MILLTEST_CRASH_AT", format!("{point}:{}", 1 + usize::from(random.random_bool(0.3))));
            }
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
            let after = Duration::from_millis(random.random_range(20..700));
            let reached = end(child, if point.is_some() { PATIENCE } else { after });
            *killed.entry(if reached { point.unwrap_or("at random") } else { "at random" }).or_default() += 1;
        }
        self.input.borrow_mut().grow(1);
        let done = self.engine(2).arg("--until-end").output().expect("the binary starts");
        assert!(done.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&done.stderr));
        let (answers, epoch) = reader.stop();
        assert!(answers > 0, "nobody has read anything");
        // So often that each point has its turn.
        let missed: Vec<_> = self.points.iter().filter(|point| !killed.contains_key(*point)).collect();
        assert!(kills < 20 * self.points.len() || missed.is_empty(), "{missed:?} was never reached: {killed:?}");
        let where_killed: Vec<String> = killed.iter().map(|(point, count)| format!("{point} {count}")).collect();
        format!("seed {seed}: {kills} kills ({}); {answers} reads, the last of epoch {epoch}", where_killed.join(", "))
    }
}

/// Waits so long, then kills. Whether it was dead before; it must not have ended by itself.
fn end(mut child: Child, after: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < after {
        if let Some(status) = child.try_wait().expect("it is ours") {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
            }
            assert_eq!(status.code(), None, "it ended by itself, with {:?}: {said}", status.code());
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    false
}

/// Reads all the time, each time from the epoch on that it has seen: no answer may go back.
struct Reader {
    stop: Arc<AtomicBool>,
    epoch: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<usize>,
}

impl Reader {
    fn start(port: u16) -> Reader {
        let (stop, epoch) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (stop.clone(), epoch.clone());
        let thread = std::thread::spawn(move || {
            let (mut answers, mut last_read, mut last_in) = (0, 0_i64, 0_i64);
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(15));
                let connection = Connection::open(&format!("127.0.0.1:{port}"), &ClientSettings::default());
                let Ok(connection) = connection else { continue };
                let last = seen.load(Ordering::Relaxed);
                let consistency = v1::Consistency { min_epoch: last, ..v1::Consistency::default() };
                let answer = connection.query_when("quality", &Query::default(), consistency);
                let Ok((table, at)) = answer else { continue };
                assert!(at.epoch >= last, "an answer of epoch {} after one of {last}", at.epoch);
                let count = |name: &str| -> i64 {
                    let column = table.columns.iter().position(|column| column == name);
                    let cell = column.and_then(|column| Some(table.rows.first()?[column].to_string()));
                    cell.and_then(|count| count.parse().ok()).unwrap_or(0)
                };
                // What is not pending is in the answers: that grows, too, when pending records are merged.
                let (read, pending) = (count("read"), count("pending"));
                assert!(read >= last_read, "{read} records were read at epoch {}, {last_read} before", at.epoch);
                let is_in = read - pending;
                assert!(is_in >= last_in, "{is_in} records were in at epoch {}, {last_in} before", at.epoch);
                (last_read, last_in) = (read, is_in);
                seen.store(at.epoch, Ordering::Relaxed);
                answers += 1;
            }
            answers
        });
        Reader { stop, epoch, thread }
    }

    fn stop(self) -> (usize, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.thread.join().expect("no answer went back");
        (answers, self.epoch.load(Ordering::Relaxed))
    }
}
