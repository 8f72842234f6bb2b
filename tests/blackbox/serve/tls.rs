//! TLS, and certificates of clients.

use super::super::support::{Place, skip};
use super::fixture::{Serving, settings};
use millrace::serve::ServeSettings;
use std::process::Command;

/// An authority of its own and a certificate from it for each name, as PEM files in a folder.
pub fn certificates(place: &Place, authority: &str, names: &[&str]) -> bool {
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(place.path("")).args(line.split_whitespace());
        let output = command.output();
        output.as_ref().is_ok_and(|output| output.status.success())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let mut good =
        openssl(&format!("req -x509 {key} -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"));
    for name in names {
        place.write(&format!("{name}.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
        good &= openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"))
            && openssl(&format!(
                "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 \
                 -extfile {name}.ext -out {name}.pem"
            ));
    }
    good
}

#[test]
fn who_speaks_tls_and_has_a_certificate_is_answered() {
    let place = Place::new();
    if !certificates(&place, "authority", &["server", "client"]) || !certificates(&place, "other", &["stranger"]) {
        return skip("TLS: no openssl to make certificates with");
    }
    let path = |name: &str| place.path(name).display().to_string();
    let tls =
        ServeSettings { tls_certificate_file: path("server.pem"), tls_key_file: path("server.key"), ..settings() };
    let mutual = ServeSettings { tls_client_ca_file: path("authority.pem"), ..tls.clone() };
    let ask = |serving: &Serving, set: &[(&str, &str)], says: &str| {
        let set: String = set.iter().map(|(name, file)| format!(" --set client.{name}={}", path(file))).collect();
        let done = place.run(&format!("query traffic --addr {} --format csv{set}", serving.address()));
        assert!(done.code != 0 || done.out.starts_with("currency,page_views"), "{}", done.out);
        assert!(done.err.contains(says), "{says:?} is not in {}", done.err);
        done.code
    };
    let trusts = ("tls_ca_file", "authority.pem");
    let as_client =
        |name: &'static str, key: &'static str| [trusts, ("tls_certificate_file", name), ("tls_key_file", key)];
    let serving = Serving::whole(&tls, 5);
    assert_eq!(ask(&serving, &[trusts], ""), 0);
    assert_eq!(ask(&serving, &[], "it speaks TLS: set client.tls_ca_file"), 1);
    assert_eq!(ask(&serving, &[("tls_ca_file", "other.pem")], "not trusted here: set client.tls_ca_file"), 1);
    // The system's authorities.
    let by_system = |authority: &str| {
        let mut command = place.command();
        command.args(["status", "--addr", &format!("https://{}", serving.address())]);
        command.env("SSL_CERT_FILE", path(authority)).env_remove("SSL_CERT_DIR");
        command.output().expect("it starts").status.code()
    };
    assert_eq!((by_system("authority.pem"), by_system("other.pem")), (Some(0), Some(1)));
    let plain = Serving::whole(&settings(), 5);
    assert_eq!(ask(&plain, &[trusts], "it does not speak TLS: leave client.tls"), 1);
    let serving = Serving::whole(&mutual, 5);
    assert_eq!(ask(&serving, &as_client("client.pem", "client.key"), ""), 0);
    assert_eq!(ask(&serving, &[trusts], "asks for a certificate of the client: set client.tls_certificate_file"), 1);
    assert_eq!(
        ask(&serving, &as_client("stranger.pem", "stranger.key"), "does not accept this client's certificate"),
        1
    );
    // Whoever connects and says nothing keeps nobody out.
    let few = ServeSettings { connections_max: 4, connections_per_address_max: 4, ..tls };
    let serving = Serving::whole(&few, 5);
    let silent: Vec<_> =
        (0..60).map(|_| std::net::TcpStream::connect(serving.address()).expect("somebody listens")).collect();
    assert_eq!(ask(&serving, &[trusts], ""), 0);
    drop(silent);
}

#[test]
fn files_that_are_none_are_named() {
    use millrace::serve::Server;
    use std::sync::Arc;
    let place = Place::new();
    let serving = Serving::whole(&settings(), 5);
    let start = |certificate: &str| {
        let path = place.path(certificate).display().to_string();
        let tls = ServeSettings { tls_certificate_file: path.clone(), tls_key_file: path, ..settings() };
        let started = Server::start(&tls, serving.board(), serving.engine.clone(), Arc::new(|| 0));
        started.map(|_| ()).expect_err("there is no certificate").to_string()
    };
    assert!(start("missing.pem").contains("missing.pem (serve.tls_certificate_file)"));
    place.write("text.pem", "this is no certificate");
    assert!(start("text.pem").starts_with("TLS cannot be set up"), "{}", start("text.pem"));
}
