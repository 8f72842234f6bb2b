//! What a broker is told, for each way of asking who a client is.

use super::*;
use crate::kafka::Auth;

fn text(auth: Auth, properties: &[&str]) -> String {
    let properties = properties.iter().map(|line| (*line).to_owned()).collect();
    let options = Options { auth, properties, ..Options::default() };
    server_properties(&options, Ports { client: 1, internal: 2, controller: 3 })
}

fn check_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no {line} in\n{text}");
    }
}

#[test]
fn only_the_clients_listener_is_guarded() {
    let credentials = || ("ann".to_owned(), "pass-1".to_owned());
    let (user, password) = credentials();
    let sasl = text(Auth::SaslTls { user, password }, &[]);
    let login = "listener.name.client.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required user_ann=\"pass-1\";";
    let map = "listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT";
    check_has(&sasl, &[login, map, "ssl.keystore.location=server.p12"]);

    let (user, password) = credentials();
    assert!(!text(Auth::SaslPlain { user, password }, &[]).contains("ssl."));
    assert!(!text(Auth::Tls, &[]).contains("sasl"));
    let plain = text(Auth::None, &[]);
    assert!(!plain.contains("sasl") && !plain.contains("ssl."));
    check_has(&plain, &["listeners=CLIENT://127.0.0.1:1,INTERNAL://127.0.0.1:2,CONTROLLER://127.0.0.1:3"]);
}

#[test]
fn what_a_test_asks_for_comes_last() {
    assert!(text(Auth::None, &["log.retention.ms=5"]).ends_with("\nlog.retention.ms=5\n"));
}

#[test]
#[should_panic(expected = "letters, digits")]
fn a_password_cannot_say_more_than_itself() {
    text(Auth::SaslPlain { user: "ann".to_owned(), password: "a\" user_eve=\"b".to_owned() }, &[]);
}
