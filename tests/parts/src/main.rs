//! A part by hand, for benches and for scripts in other languages:
//!
//! ```text
//! millrace-parts kafka [--sasl] [--tls] [--port N] [--properties KEY=VALUE …]
//! millrace-parts s3 [--port N]
//! ```
//! Prints one line of JSON with its addresses once it serves, and runs until its stdin ends or a signal ends it. It
//! needs no handler for signals: the part goes when this process does.

use millrace_parts::PartError;
use millrace_parts::kafka::{Auth, Broker, Options};
use millrace_parts::s3::Moto;
use serde_json::{Value, json};
use std::any::Any;
use std::process::ExitCode;

const USAGE: &str = "usage: millrace-parts kafka [--sasl] [--tls] [--port N] [--properties KEY=VALUE …]\n       \
                     millrace-parts s3 [--port N]";
const USER: &str = "millrace";
const PASSWORD: &str = "let-me-in";

#[derive(Default)]
struct Arguments {
    part: String,
    sasl: bool,
    tls: bool,
    port: Option<u16>,
    properties: Vec<String>,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let started = if arguments.part == "kafka" { start_kafka(arguments) } else { start_s3(arguments) };
    match started {
        Ok((address, _running)) => {
            println!("{address}");
            // Nothing is expected there but its end.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = arguments.peekable();
    let mut parsed = Arguments { part: arguments.next()?, ..Arguments::default() };
    let is_kafka = parsed.part == "kafka";
    if !is_kafka && parsed.part != "s3" {
        return None;
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--sasl" if is_kafka => parsed.sasl = true,
            "--tls" if is_kafka => parsed.tls = true,
            "--port" => parsed.port = Some(arguments.next()?.parse().ok()?),
            "--properties" if is_kafka => {
                let property = |text: &String| text.contains('=') && !text.starts_with("--");
                while let Some(line) = arguments.next_if(property) {
                    parsed.properties.push(line);
                }
            }
            _ => return None,
        }
    }
    Some(parsed)
}

/// What runs is kept by whoever holds the second.
type Started = (Value, Box<dyn Any>);

fn start_kafka(arguments: Arguments) -> Result<Started, PartError> {
    let (user, password) = (USER.to_owned(), PASSWORD.to_owned());
    let auth = match (arguments.sasl, arguments.tls) {
        (false, false) => Auth::None,
        (true, false) => Auth::SaslPlain { user, password },
        (false, true) => Auth::Tls,
        (true, true) => Auth::SaslTls { user, password },
    };
    let options = Options { auth, port: arguments.port, properties: arguments.properties, java: Vec::new() };
    let broker = Broker::start(&options)?;
    let (user, password) = options.auth.credentials().unzip();
    let address = json!({
        "part": "kafka",
        "bootstrap": broker.bootstrap(),
        "internal": broker.internal(),
        "security_protocol": options.auth.protocol(),
        "user": user,
        "password": password,
        "ca": broker.ca(),
        "cluster_id": broker.cluster_id(),
        "pid": broker.pid(),
        "log": broker.log_path(),
    });
    Ok((address, Box::new(broker)))
}

fn start_s3(arguments: Arguments) -> Result<Started, PartError> {
    let moto = arguments.port.map_or_else(Moto::start, Moto::start_on)?;
    let address = json!({ "part": "s3", "endpoint": moto.endpoint(), "pid": moto.pid() });
    Ok((address, Box::new(moto)))
}
