//! What a command says of how it went, and how it ends: what was rejected is loud, what runs ends well whoever has gone, and nothing that
//! is shown in the place of a secret is one.

use super::support::Place;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const GOOD: &str = r#"{"event_type":"page_view","event_id":"ID","event_time":"2024-05-01T10:00:00Z","session_id":"s","page_type":"home"}"#;

/// Records of another program.
fn foreign(count: usize) -> String {
    (0..count).map(|number| format!("{{\"type\":\"order\",\"number\":{number}}}\n")).collect()
}

fn good(count: usize) -> String {
    (0..count).map(|number| GOOD.replace("ID", &format!("e{number}")) + "\n").collect()
}

/// A log of one partition.
fn write_log(place: &Place, name: &str, text: &str) {
    place.write(&format!("{name}/log.json"), r#"{"format":"millrace-log","version":1,"partitions":1}"#);
    place.write(&format!("{name}/partition=00000/00000000000000000000.jsonl"), text);
}

#[test]
fn a_replay_of_foreign_data_is_no_success() {
    let place = Place::new();
    place.write("foreign.jsonl", foreign(20));
    let done =
        place.fails("replay foreign.jsonl --data-dir data --quiet", 3, &["20 of 20", "100 %", "--fail-above 50"]);
    for word in ["rejected 20 of 20 records (100 %)", "20 unknown_event_type: ", "foreign.jsonl, partition 0, offset 0"]
    {
        assert!(done.out.contains(word), "{word}: {}", done.out);
    }
    // The results are there, and the command that is named shows them.
    let look = done.out.lines().find_map(|line| line.split_once("look: millrace ")).expect("a command").1;
    let rows = super::support::Answer::of_csv(&place.ok(&format!("{look} --format csv")));
    assert_eq!(rows.rows.len(), 20);

    let done = place.run("replay foreign.jsonl --data-dir data --quiet --format json");
    let summary: Value = serde_json::from_str(&done.out).expect("one object");
    let rejected = &summary["rejected"][0];
    assert_eq!(
        (done.code, rejected["rule"].as_str(), rejected["records"].as_u64()),
        (3, Some("unknown_event_type"), Some(20))
    );
    assert_eq!(rejected["example"]["offset"].as_u64(), Some(0));
    assert!(rejected["example"]["bytes"].as_str().is_some_and(|bytes| bytes.contains("\"number\":0")), "{rejected}");
}

#[test]
fn how_much_may_be_rejected_is_asked_for() {
    let place = Place::new();
    place.write("half.jsonl", good(10) + &foreign(10));
    for (more, code) in [("", 0), ("--fail-above 49.9", 3), ("--fail-above 0", 3), ("--fail-above 100", 0)] {
        let done = place.run(&format!("replay half.jsonl --data-dir data --quiet {more}"));
        assert_eq!(done.code, code, "{more}: {}", done.err);
        assert!(done.out.contains("rejected 10 of 20 records (50.0 %)"), "{}", done.out);
    }
    place.write("all.jsonl", foreign(3));
    assert_eq!(place.run("replay all.jsonl --data-dir data --quiet --fail-above 100").code, 0);
    place.write("good.jsonl", good(3));
    let done = place.run("replay good.jsonl --data-dir data --quiet --fail-above 0");
    assert!(done.code == 0 && !done.out.contains("rejected"), "{} {}", done.out, done.err);
}

/// An engine over `log`. It goes with the test.
struct Engine(Option<Child>);

/// What it says, a line each.
type Lines = mpsc::Receiver<String>;

impl Engine {
    /// With a script, started by a shell, which has the command line as `"$@"`.
    fn start(place: &Place, script: Option<&str>, more: &[&str]) -> Engine {
        let ours = place.command();
        let mut command = match script {
            None => place.command(),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script, "sh"]).arg(ours.get_program()).current_dir(place.path(""));
                shell
            }
        };
        command.args(["run", "--set", "serve.address=127.0.0.1:0", "--set", "source.log.paths=['log']"]).args(more);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Whoever runs these tests may ignore it (nohup does), and the engine would inherit that.
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        Engine(Some(command.spawn().expect("it starts")))
    }

    fn stderr(&mut self) -> ChildStderr {
        self.0.as_mut().and_then(|child| child.stderr.take()).expect("it is a pipe")
    }

    fn lines(&mut self) -> Lines {
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(self.stderr());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        lines
    }

    fn signal(&self, name: &str) {
        let id = self.0.as_ref().expect("it has not ended").id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("there is kill").success());
    }

    fn end(mut self) -> Output {
        self.0.take().expect("it ends once").wait_with_output().expect("it ends")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first line that has a word, and what stands behind it.
fn line_with(lines: &Lines, word: &str) -> (String, String) {
    let begun = Instant::now();
    let mut all = Vec::new();
    loop {
        let line = lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed()));
        let line = line.unwrap_or_else(|_| panic!("{word:?} was not said: {all:?}"));
        if let Some((_, rest)) = line.split_once(word) {
            return (line.clone(), rest.to_owned());
        }
        all.push(line);
    }
}

#[test]
fn an_engine_says_what_it_rejects_and_so_does_its_status() {
    let place = Place::new();
    write_log(&place, "log", &foreign(30));
    let mut engine = Engine::start(&place, None, &["--quiet"]);
    let lines = engine.lines();
    // Warnings are said with `--quiet`, too; where it serves is not.
    let (line, _) = line_with(&lines, "warning: rejected 30 of 30 records (100 %)");
    let (time, _) = line.split_once(' ').expect("a time is first");
    assert!(millrace_schema::calendar::parse_rfc3339(time).is_some(), "{line}");
    let (_, rest) = line.split_once("look: millrace query quarantine --addr ").expect("where to look");
    let address = rest.split(' ').next().expect("an address");
    assert!(line.contains("30 unknown_event_type: ") && line.contains("log, partition 0, offset 0"), "{line}");

    let said = place.ok(&format!("status --addr {address}"));
    assert!(said.contains("rejected 30 of 30 records (100 %)") && said.contains("30 unknown_event_type: "), "{said}");
    let status: Value =
        serde_json::from_str(&place.ok(&format!("status --addr {address} --format json"))).expect("JSON");
    assert_eq!(status["rejected"][0]["records"].as_u64(), Some(30), "{status}");
    assert_eq!(status["rejected"][0]["example"]["source"].as_str(), Some("log"), "{status}");
    engine.signal("-TERM");
    assert!(engine.end().status.success());
}

#[test]
fn nobody_has_to_read_what_is_said() {
    let place = Place::new();
    write_log(&place, "log", &good(50));
    let mut engine = Engine::start(&place, None, &["--until-end", "--format", "json"]);
    drop(engine.stderr());
    let output = engine.end();
    assert_eq!(output.status.code(), Some(0));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(summary["accepted"].as_u64(), Some(50));
}

#[test]
fn a_terminal_that_goes_away_ends_an_engine_well() {
    let place = Place::new();
    write_log(&place, "log", &good(50));
    // No checkpoint but the last.
    let lake = ["--format", "json", "--set", "lake.url=lake", "--set", "lake.checkpoint_ms=86400000"];
    let mut engine = Engine::start(&place, None, &lake);
    let (_, address) = line_with(&engine.lines(), "serving on ");
    wait_until_read(&place, &address, 50);
    // It may come twice: of the shell, and of the kernel.
    engine.signal("-HUP");
    engine.signal("-HUP");
    let output = engine.end();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"accepted\":50"));
    assert_eq!(place.table("lake", "quality").pick("accepted"), ["50"]);

    let mut engine = Engine::start(&place, Some("trap '' HUP; exec \"$@\""), &[]);
    let lines = engine.lines();
    let (_, address) = line_with(&lines, "serving on ");
    engine.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    place.ok(&format!("status --addr {address}"));
    engine.signal("-TERM");
    assert_eq!(engine.end().status.code(), Some(0));
}

fn wait_until_read(place: &Place, address: &str, records: u64) {
    let begun = Instant::now();
    loop {
        let done = place.run(&format!("status --addr {address} --format json"));
        let read =
            serde_json::from_str::<Value>(&done.out).ok().and_then(|status| status["accounting"]["read"].as_u64());
        if read == Some(records) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{} {}", done.out, done.err);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_stands_for_a_secret_is_none() {
    let place = Place::new();
    let secrets = "[serve]\nread_tokens = [\"hunter2\"]\n[source.kafka]\nproperties = [\"sasl.oauthbearer.config=hunter2\", \
        \"security.protocol=sasl_ssl\"]\n[client]\ntoken = \"hunter2\"\n";
    place.write("own.toml", secrets);
    for format in ["toml", "json", "table"] {
        let done = place.run(&format!("config --config own.toml --format {format}"));
        assert!(done.code == 0 && !done.out.contains("hunter2") && done.out.contains("***"), "{format}: {}", done.out);
    }
    // What is printed can be read, and has no token in it.
    place.write("printed.toml", place.ok("config --config own.toml --format toml"));
    let again = place.ok("config --config printed.toml --format json");
    let again: Vec<Value> = serde_json::from_str(&again).expect("an array");
    let tokens = again.iter().find(|setting| setting["key"] == "serve.read_tokens").expect("a known key");
    assert_eq!(tokens["value"], Value::Array(Vec::new()));

    for (text, key) in [
        ("[serve]\nread_tokens = [\"***\"]\n", "serve.read_tokens"),
        ("[serve]\nadmin_tokens = [\"a\", \"*****\"]\n", "serve.admin_tokens"),
        ("[source.kafka]\nproperties = [\"sasl.password=***\"]\n", "source.kafka.properties"),
        ("[lake]\nurl = \"s3://me:***@shop\"\n", "lake.url"),
    ] {
        place.write("starred.toml", text);
        place.fails("config --config starred.toml", 2, &[key, "starred.toml", "stars"]);
        place.fails("run --config starred.toml", 2, &[key, "starred.toml", "stars"]);
    }
    let done = place.fails("run --set lake.url=s3://me:hunter2@shop/lake", 2, &["lake.url", "***@shop", "password"]);
    assert!(!done.err.contains("hunter2"), "{}", done.err);
    for property in ["sasl.passwrod=hunter2", "security.protocol=hunter2"] {
        let line = format!("generate --events 1 --seed 1 --kafka 127.0.0.1:1 --topic t --property {property}");
        let done = place.fails(&line, 1, &[property.split('=').next().expect("a name")]);
        assert!(!done.err.contains("hunter2"), "{}", done.err);
    }
    let done = place.fails("inspect --data-dir https://me:hunter2@shop/lake", 1, &["***@shop"]);
    assert!(!done.err.contains("hunter2"), "{}", done.err);
}

#[test]
fn a_settings_file_is_never_written_over() {
    let place = Place::new();
    place.ok("config --to millrace.toml --set replay.workers=7");
    assert!(String::from_utf8_lossy(&place.read("millrace.toml")).contains("workers = 7 # --set"));
    let mode = fs::metadata(place.path("millrace.toml")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "only its user reads it");
    place.fails("config --to millrace.toml", 1, &["millrace.toml", "is there already"]);
    assert!(String::from_utf8_lossy(&place.read("millrace.toml")).contains("workers = 7"));
    // No example of a help writes over a file that is there.
    for command in ["config", "query", "watch", "generate", "demo"] {
        let help = place.ok(&format!("{command} --help"));
        assert!(!help.contains("> millrace.toml"), "{help}");
    }
}

#[test]
fn a_file_with_secrets_that_all_can_read_is_warned_about() {
    let place = Place::new();
    let file = place.write("open.toml", "[client]\ntoken = \"hunter2\"\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let done = place.run("config --config open.toml");
    assert!(done.code == 0 && done.err.contains("everybody on this machine can read open.toml"), "{}", done.err);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert_eq!(place.run("config --config open.toml").err, "");
}

#[test]
fn paths_of_a_settings_file_are_beside_it() {
    let place = Place::new();
    write_log(&place, "conf/log", &good(40));
    place.write("conf/shop.toml", "[source.log]\npaths = ['log']\n[lake]\nurl = 'lake'\n[serve]\naddress = ''\n");
    place.ok("run --config conf/shop.toml --until-end --quiet");
    assert!(place.path("conf/lake/_manifests").is_dir() && !place.path("lake").exists());
    // By whichever way the file is named, the source is the same: nothing is read again.
    let mut inside = place.command();
    inside.current_dir(place.path("conf")).args(["run", "--config", "shop.toml", "--until-end", "--quiet"]);
    assert!(inside.output().expect("it starts").status.success());
    let quality = place.table("conf/lake", "quality --group-by source");
    assert_eq!(quality.pick("source read accepted"), ["log 40 40"]);
    // What the command line says is as the shell sees it.
    place.ok("run --config conf/shop.toml --until-end --quiet --set lake.url=lake --set source.log.paths=['conf/log']");
    assert_eq!(place.table("lake", "quality --group-by source").pick("source read"), ["conf/log 40"]);
}

#[test]
fn a_first_replay_that_is_not_finished_has_no_results_yet() {
    let place = Place::new();
    let mut first = place.command();
    first.args("replay - --data-dir data --quiet".split(' '));
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
    let mut input = first.stdin.take().expect("it is a pipe");
    input.write_all(good(3).as_bytes()).expect("it reads");
    let begun = Instant::now();
    let has_begun = || {
        let listed = fs::read_dir(place.path("data/_manifests"));
        let is_manifest = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "json");
        listed.is_ok_and(|listed| listed.flatten().any(|entry| is_manifest(&entry)))
    };
    while !has_begun() {
        assert!(begun.elapsed() < PATIENCE, "the replay never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    for asks in ["query sales", "query quality", "query quarantine", "verify"] {
        let done = place.fails(&format!("{asks} --data-dir data"), 1, &["data has no results yet"]);
        assert!(!done.err.contains("views.enabled"), "{}", done.err);
    }
    drop(input);
    assert!(first.wait().expect("it ends").success());
    assert_eq!(place.table("data", "quality").pick("read"), ["3"]);
}

#[test]
fn an_engine_with_nothing_to_read_says_what_to_set() {
    let place = Place::new();
    let words = ["source.log.paths", "source.kafka.topics", "millrace demo", "millrace replay"];
    let done = place.fails("run --set serve.address=", 2, &words);
    assert!(!done.err.contains("opening"), "{}", done.err);
}

#[test]
fn a_demonstration_says_that_its_port_is_taken() {
    let place = Place::new();
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("it has one").to_string();
    place.fails(&format!("demo --for 1s --set serve.address={address}"), 1, &[&address, "serve.address"]);
    // Held by us, or by somebody else: it is taken.
    let _held = TcpListener::bind("127.0.0.1:7117");
    let done = place.run("demo --for 1s --rate 100 --history 1s");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("warning: 127.0.0.1:7117 (serve.address) is taken"), "{}", done.err);
    assert!(done.out.contains("(127.0.0.1:7117 is taken)"), "{}", done.out);
}
