//! Kafka: what clients need works, in each way of authentication; a broker comes back with its data.

use millrace_parts::kafka::{Auth, Broker, Options, tool};
use millrace_parts::{PartError, or_skip, python};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

fn topics(broker: &Broker, args: &[&str]) -> Result<String, PartError> {
    tool(TOPICS, &[&["--bootstrap-server", broker.internal()], args].concat())
}

/// Runs `client.py` with these settings.
fn client(broker: &Broker, settings: &[String]) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = or_skip(python::venv(&folder.join("client-requirements.txt")))?;
    let mut command = Command::new(python);
    command.arg(folder.join("client.py")).arg(broker.bootstrap()).args(settings);
    Some(command.output().expect("Python runs"))
}

fn check_satisfied(broker: &Broker, settings: &[String]) {
    let Some(output) = client(broker, settings) else { return };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "ok", "{settings:?}\n{out}{err}\n{}", broker.log_tail());
}

fn check_refused(broker: &Broker, settings: &[String]) {
    let Some(output) = client(broker, settings) else { return };
    assert_eq!(output.status.code(), Some(3), "{settings:?} {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_client_is_satisfied() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    check_satisfied(broker, &[]);
}

#[test]
fn a_client_must_say_who_it_is() {
    let (user, password) = ("ann".to_owned(), "pass-1".to_owned());
    let options = Options { auth: Auth::SaslPlain { user, password }, ..Options::default() };
    let Some(broker) = or_skip(Broker::start(&options)) else { return };
    check_satisfied(&broker, &settings("SASL_PLAINTEXT", Some("pass-1"), None));
    check_refused(&broker, &settings("SASL_PLAINTEXT", Some("pass-2"), None));
}

#[test]
fn a_client_speaks_tls() {
    let (user, password) = ("ann".to_owned(), "pass-1".to_owned());
    for auth in [Auth::Tls, Auth::SaslTls { user, password }] {
        let options = Options { auth, ..Options::default() };
        let Some(broker) = or_skip(Broker::start(&options)) else { return };
        let password = options.auth.credentials().map(|(_, password)| password);
        let settings = |ca| settings(options.auth.protocol(), password, ca);
        check_satisfied(&broker, &settings(broker.ca()));
        // The machine's own authorities have not signed it.
        check_refused(&broker, &settings(None));
    }
}

fn settings(protocol: &str, password: Option<&str>, ca: Option<&Path>) -> Vec<String> {
    let mut settings = vec![format!("security.protocol={protocol}")];
    if let Some(password) = password {
        let credentials = ["sasl.mechanism=PLAIN", "sasl.username=ann"].map(str::to_owned);
        settings.extend(credentials);
        settings.push(format!("sasl.password={password}"));
    }
    settings.extend(ca.map(|ca| format!("ssl.ca.location={}", ca.display())));
    settings
}

#[test]
fn data_outlives_a_stop_a_kill_and_a_freeze() {
    let properties = vec!["num.partitions=3".to_owned()];
    let Some(mut broker) = or_skip(Broker::start(&Options { properties, ..Options::default() })) else { return };
    let bootstrap = broker.bootstrap().to_owned();
    topics(&broker, &["--create", "--topic", "kept"]).expect("a topic");
    let check_kept = |broker: &Broker| {
        assert_eq!(topics(broker, &["--list"]).expect("a list").trim(), "kept");
        assert_eq!(broker.bootstrap(), bootstrap);
    };
    broker.restart().expect("it comes back");
    check_kept(&broker);
    let described = topics(&broker, &["--describe", "--topic", "kept"]).expect("a description");
    assert!(described.contains("PartitionCount: 3"), "the test's own property counts: {described}");

    broker.kill();
    assert!(!broker.serves() && broker.pid().is_none());
    let killed = Instant::now();
    broker.restart().expect("it comes back");
    assert!(killed.elapsed() < Duration::from_secs(30), "a broker that was killed comes back soon");
    check_kept(&broker);

    broker.freeze();
    assert!(!broker.serves());
    broker.thaw();
    check_kept(&broker);
    broker.freeze();
    broker.stop().expect("one that is frozen stops, too");
}

#[test]
fn what_fails_says_why() {
    // Another error of the machine's would say nothing of this test.
    if or_skip(Broker::shared()).is_none() {
        return;
    }
    let properties = vec!["process.roles=nonsense".to_owned()];
    let error = Broker::start(&Options { properties, ..Options::default() }).expect_err("it cannot start");
    assert!(matches!(error, PartError::Failed { .. }) && error.to_string().contains("nonsense"), "{error}");
    let error = tool(TOPICS, &["--no-such-option"]).expect_err("it ends with another code than 0");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}
