//! The commands that ask a server.

use super::super::support::QUESTIONS;
use super::fixture::{Serving, place, settings, spread};
use millrace::serve::ServeSettings;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_server_is_asked_like_a_data_directory() {
    let serving = Serving::whole(&settings(), 1_571_234_567_890);
    let (place, address) = (place(), serving.address());
    for (index, question) in QUESTIONS.iter().enumerate() {
        let format = ["csv", "json", "table"][index % 3];
        let ask = |of: &str| place.run(&format!("query {question} {of} --format {format}"));
        let (here, there) = (ask("--data-dir data"), ask(&format!("--addr {address}")));
        assert_eq!((here.code, there.code), (0, 0), "{question}: {}", there.err);
        assert_eq!(here.out, there.out, "{question}");
        assert!(there.err.contains("epoch 1571234567890, complete up to 20"), "{}", there.err);
    }
    let limited = "--group-by product_id --order-by lines:desc --limit 3";
    let ask = |of: &str, format: &str| place.ok(&format!("query sales {limited} {of} --format {format}"));
    for format in ["csv", "table"] {
        assert_eq!(ask("--data-dir data", format), ask(&format!("--addr {address}"), format));
    }
}

#[test]
fn what_is_wrong_is_told_apart_from_who_does_not_answer() {
    let tokens = ServeSettings { read_tokens: vec!["open-sesame".to_owned()], ..settings() };
    let serving = Serving::whole(&tokens, 5);
    let (place, address) = (place(), serving.address());
    let refused = place.fails(&format!("query sales --addr {address}"), 1, &["UNAUTHENTICATED", "MILLRACE_TOKEN"]);
    assert!(refused.out.is_empty());
    let with_token = |arguments: &[&str]| {
        let mut command = place.command();
        command.args(arguments).env("MILLRACE_TOKEN", "open-sesame");
        let output = command.output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    };
    assert_eq!(with_token(&["query", "sales", "--addr", &address]).0, 0);
    assert_eq!(with_token(&["status", "--addr", &address]).0, 0);
    let (code, _, said) = with_token(&["query", "sales", "--addr", &address, "--group-by", "colour"]);
    assert!(code == 2 && said.contains("colour") && said.contains("category_as_was"), "{code} {said}");
    let (code, shown, _) = with_token(&["config", "--format", "toml"]);
    assert!(code == 0 && shown.contains("# token = \"***\" # environment MILLRACE_TOKEN, secret"), "{shown}");
    assert!(!shown.contains("open-sesame"));
    place.fails("query sales --addr nowhere", 2, &["\"nowhere\"", "HOST:PORT"]);
    place.fails("query sales", 2, &["--data-dir"]);
    place.fails(&format!("query sales --addr {address} --data-dir data"), 2, &["cannot be used with"]);
    // Nobody listens on a port that was just given back.
    drop(serving);
    place.fails(&format!("query sales --addr {address}"), 1, &["cannot reach", &address, "nobody listens there"]);
    place.fails("query sales --addr nowhere.invalid:7117", 1, &["cannot reach", "there is no such host"]);
}

#[test]
fn the_settings_say_where_the_server_is() {
    let serving = Serving::whole(&settings(), 5);
    let place = place();
    place.write("shop.toml", format!("[serve]\naddress = '{}'\n", serving.address()));
    assert!(place.ok("status --config shop.toml").contains("epoch 5"));
    assert!(place.ok("watch traffic --config shop.toml --for 500ms").contains("# epoch 5"));
    place.fails("watch quarantine --config shop.toml", 2, &["cannot be watched", "query quarantine"]);
    place.fails("status --set serve.address=", 2, &["serve.address", "--addr"]);
}

/// Whatever is listed can be asked, subscribed to, or says how else.
#[test]
fn what_is_listed_can_be_asked() {
    use super::fixture::request;
    use millrace_dataflows::query::Query;
    let serving = Serving::whole(&settings(), 5);
    let mut client = serving.client();
    let views = serving.runtime.block_on(client.list_views(millrace_proto::v1::ListViewsRequest {})).expect("views");
    for view in views.into_inner().views {
        for column in &view.group_columns {
            let answer = serving.ask(request(&view.name, &Query::group_by([column.as_str()])));
            let answer = answer.unwrap_or_else(|status| panic!("{} by {column}: {status:?}", view.name));
            let at = answer.columns.iter().position(|listed| listed.name == *column).expect("it is in the answer");
            // A null cannot be asked for.
            let values = answer.rows.iter().map(|row| super::fixture::cells_of(row)[at].to_string());
            let Some(value) = values.into_iter().find(|value| !value.is_empty()) else { continue };
            let filtered = Query { filters: vec![(column.clone(), value.clone())], ..Query::default() };
            let answer = serving.ask(request(&view.name, &filtered));
            assert!(answer.is_ok(), "{} where {column} = {value}: {answer:?}", view.name);
        }
    }
}

#[test]
fn status_is_a_table_or_an_object() {
    let serving = Serving::whole(&settings(), 5);
    let (place, address) = (place(), serving.address());
    let text = place.ok(&format!("status --addr {address}"));
    for word in ["epoch 5", "shop", "lag", "30", "accepted", "held sessions"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let object: Value =
        serde_json::from_str(&place.ok(&format!("status --addr {address} --format json"))).expect("JSON");
    assert_eq!((object["epoch"].as_u64(), object["partitions"][1]["lag"].as_u64()), (Some(5), Some(30)));
    assert_eq!(object["held"]["sessions"].as_u64(), Some(12));
    let parts = ["accepted", "duplicates", "quarantined", "pending"].map(|name| object["accounting"][name].as_i64());
    assert_eq!(object["accounting"]["read"].as_i64(), parts.iter().copied().sum());
}

#[test]
fn watch_prints_changes_and_ends_when_told() {
    let mut serving = Serving::new(&settings());
    let mut commits = spread(40, 12).into_iter().zip(1..);
    let (first, epoch) = commits.next().expect("many");
    serving.publish(epoch, first);
    let start = |arguments: &[&str]| {
        let mut command = place().command();
        command.args(["watch", "traffic", "--addr", &serving.address(), "--group-by", "day,currency"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let timed = start(&["--for", "2s", "--every", "50ms"]);
    let interrupted = start(&[]);
    for (changes, epoch) in commits {
        serving.publish(epoch, changes);
        std::thread::sleep(Duration::from_millis(25));
    }
    let process = interrupted.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().expect("there is kill").success());
    for child in [timed, interrupted] {
        let output = child.wait_with_output().expect("it ends");
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{:?} {complaint}", output.status);
        let lines = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
        assert!(lines("# day\tcurrency\tpage_views") == 1 && lines("# epoch") > 1 && lines("+\t") > 1, "{said}");
    }
}

#[test]
fn watch_draws_on_a_terminal() {
    let serving = Serving::whole(&settings(), 1_571_234_567_890);
    let binary = env!("CARGO_BIN_EXE_millrace");
    let line = format!("{binary} watch traffic --addr {} --group-by day,currency --for 1500ms", serving.address());
    // A terminal to draw on, from util-linux.
    let Ok(output) = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output() else {
        return super::super::support::skip("no `script` to make a terminal");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let screens: Vec<&str> = said.split("\x1b[H").skip(1).collect();
    assert!(screens.len() > 1, "{said}");
    for word in ["epoch 1571234567890, complete up to 20", " old", "page_views", "JPY"] {
        assert!(screens[0].contains(word), "{word}: {}", screens[0]);
    }
}
