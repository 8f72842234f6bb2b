//! A subscription that is resumed after a kill.

use super::super::serve::folding::{Folded, subscription};
use super::super::support::Place;
use super::input::Input;
use super::shop;
use millrace_dataflows::query::Query;
use millrace_parts::ports::Lease;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// An engine whose checkpoints are far apart, once it serves.
fn engine(place: &Place, input: &Input, address: &str) -> Child {
    let settings = [
        input.settings[0].clone(),
        "lake.url=lake".to_owned(),
        "lake.checkpoint_ms=400".to_owned(),
        "live.workers=1".to_owned(),
        format!("serve.address={address}"),
    ];
    let mut command = place.command();
    command.args(["run", "--quiet"]).args(settings.iter().flat_map(|setting| ["--set", setting]));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not serve");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// It asks an engine that has only its last checkpoint, and has been told of epochs after it.
#[test]
fn a_resumed_subscription_never_goes_back() {
    let (place, lines) = shop();
    let mut input = Input::log(&place, lines);
    let port = Lease::any().expect("a free port");
    let address = format!("127.0.0.1:{}", port.port());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let query = Query::group_by(["rule"]);
    const KILLS: usize = 5;
    let mut last = 0;
    for kill in 0..=KILLS {
        let mut child = engine(&place, &input, &address);
        let begun = Instant::now();
        let mut folded = loop {
            // Before there is an epoch, nobody is answered.
            match Folded::open(runtime.handle(), &address, subscription("quality", &query, last)) {
                Ok(folded) => break folded,
                Err(status) => assert!(begun.elapsed() < Duration::from_secs(30), "{status:?}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        folded.step().expect("it goes on");
        assert!(folded.epoch >= last, "after kill {kill}: epoch {} after one of {last}", folded.epoch);
        input.grow(KILLS + 1 - kill);
        let grown = Instant::now();
        while grown.elapsed() < Duration::from_millis(300) {
            folded.step().expect("it goes on");
        }
        last = folded.epoch;
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
    }
}
