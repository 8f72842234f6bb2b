//! Who may call, what the server says of itself, and how it ends.

use super::fixture::{Client, Serving, eventually, request, settings};
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_proto::v1;
use millrace_proto::v1::admin_client::AdminClient;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn channel(serving: &Serving) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", serving.address())).expect("an address");
    serving.runtime.block_on(endpoint.connect()).expect("the server is there")
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    }
    request
}

#[test]
fn tokens_have_roles() {
    let tokens =
        ServeSettings { read_tokens: vec!["reads".to_owned()], admin_tokens: vec!["rules".to_owned()], ..settings() };
    let serving = Serving::whole(&tokens, 5);
    let read = |token: &str| {
        let mut client = Client::new(channel(&serving));
        let asked = with_token(request("traffic", &Query::default()), token);
        serving.runtime.block_on(client.query(asked)).map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let administer = |token: &str| {
        let mut client = AdminClient::new(channel(&serving));
        let asked = with_token(v1::GetSettingsRequest {}, token);
        serving.runtime.block_on(client.get_settings(asked)).map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(
        ["", "wrong", "reads", "rules"].map(read),
        [Code::Unauthenticated, Code::Unauthenticated, Code::Ok, Code::Ok]
    );
    assert_eq!(
        ["", "wrong", "reads", "rules"].map(administer),
        [Code::Unauthenticated, Code::Unauthenticated, Code::PermissionDenied, Code::Ok]
    );
    // Health and reflection are open.
    assert_eq!(health(&serving, "millrace.v1.Analytics"), 1);
    assert!(reflected_v1(&serving).expect("it is open").contains(&"millrace.v1.Admin".to_owned()));
    let methods = serving.server.metrics.counts();
    let denied: u64 = methods.iter().map(|method| method.errors).sum();
    assert_eq!(denied, 5);
}

/// It is answered once another has gone.
#[test]
fn a_connection_beyond_the_limit_waits() {
    let serving = Serving::whole(&ServeSettings { connections_max: 2, ..settings() }, 5);
    let answers = |channel: &Channel| {
        let mut client = Client::new(channel.clone());
        let asked = client.query(request("traffic", &Query::default()));
        let answer = serving.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(200), asked).await });
        answer.is_ok_and(|answer| answer.is_ok())
    };
    let (first, second) = (channel(&serving), channel(&serving));
    assert!(answers(&first) && answers(&second));
    let third = channel(&serving);
    assert!(!answers(&third));
    assert!(answers(&second));
    drop(first);
    eventually("there is a place", || answers(&third));
}

#[test]
fn without_tokens_neighbours_administer() {
    let serving = Serving::whole(&settings(), 5);
    let mut client = AdminClient::new(channel(&serving));
    let settings = serving.runtime.block_on(client.get_settings(v1::GetSettingsRequest {})).expect("a neighbour");
    assert!(settings.into_inner().toml.contains("[store]"));
    assert!(!serving.engine.drained.load(SeqCst));
    serving.runtime.block_on(client.drain(v1::DrainRequest {})).expect("a neighbour");
    assert!(serving.engine.drained.load(SeqCst));
}

/// 1 is SERVING, 2 is NOT_SERVING.
fn health(serving: &Serving, service: &str) -> i32 {
    let mut client = HealthClient::new(channel(serving));
    let asked = HealthCheckRequest { service: service.to_owned() };
    serving.runtime.block_on(client.check(asked)).expect("health answers").into_inner().status
}

#[test]
fn health_follows_epochs_and_drain() {
    let mut serving = Serving::new(&settings());
    eventually("health is told", || health(&serving, "") == 2);
    assert_eq!(health(&serving, "millrace.v1.Analytics"), 2);
    serving.publish(3, Vec::new());
    eventually("it serves", || health(&serving, "") == 1 && health(&serving, "millrace.v1.Analytics") == 1);
    serving.server.begin_drain();
    eventually("it drains", || health(&serving, "") == 2 && health(&serving, "millrace.v1.Analytics") == 2);
}

macro_rules! reflected {
    ($name:ident, $version:ident) => {
        fn $name(serving: &Serving) -> Result<Vec<String>, tonic::Status> {
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version::{ServerReflectionRequest, ServiceResponse};
            let ask = |message| {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
                let mut client = ServerReflectionClient::new(channel(serving));
                serving.runtime.block_on(async {
                    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
                    Ok::<_, tonic::Status>(answers.message().await?.expect("an answer").message_response)
                })
            };
            let names = match ask(MessageRequest::ListServices(String::new()))? {
                Some(MessageResponse::ListServicesResponse(list)) => list.service,
                other => panic!("{other:?}"),
            };
            match ask(MessageRequest::FileContainingSymbol("millrace.v1.Analytics.Subscribe".to_owned()))? {
                Some(MessageResponse::FileDescriptorResponse(files)) => {
                    assert!(!files.file_descriptor_proto.is_empty())
                }
                other => panic!("{other:?}"),
            }
            Ok(names.into_iter().map(|ServiceResponse { name }| name).collect())
        }
    };
}

reflected!(reflected_v1, v1);
reflected!(reflected_v1alpha, v1alpha);

#[test]
fn the_contract_describes_itself() {
    let serving = Serving::whole(&settings(), 5);
    for names in [reflected_v1(&serving), reflected_v1alpha(&serving)] {
        let names = names.expect("it is open");
        for service in ["millrace.v1.Analytics", "millrace.v1.Admin", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|name| name == service), "{names:?}");
        }
    }
    let closed = Serving::whole(&ServeSettings { reflection: false, ..settings() }, 5);
    assert_eq!(reflected_v1(&closed).expect_err("it is closed").code(), Code::Unimplemented);
    assert_eq!(reflected_v1alpha(&closed).expect_err("it is closed").code(), Code::Unimplemented);
}

#[test]
fn calls_finish_while_the_server_drains_and_no_longer() {
    let patience = ServeSettings { drain_ms: 1_000, ..settings() };
    let serving = Serving::whole(&patience, 5);
    let waits = |min_epoch| {
        let mut client = serving.client();
        let consistency = Some(v1::Consistency { min_epoch, ..Default::default() });
        let asked = v1::QueryRequest { consistency, ..request("traffic", &Query::default()) };
        serving.runtime.spawn(async move { client.query(asked).await })
    };
    let (finishes, cut) = (waits(6), waits(7));
    std::thread::sleep(Duration::from_millis(100));
    let Serving { mut publisher, server, runtime, .. } = serving;
    let started = Instant::now();
    let draining = std::thread::spawn(move || server.drain());
    std::thread::sleep(Duration::from_millis(200));
    publisher.add(millrace::serve::Commit { epoch: 6, ..Default::default() });
    publisher.publish();
    let finished = runtime.block_on(finishes).expect("no panic").expect("it finishes");
    assert_eq!(finished.into_inner().at.expect("a place").epoch, 6);
    draining.join().expect("no panic").expect("it ends");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(runtime.block_on(cut).expect("no panic").is_err());
}

#[test]
fn an_address_that_is_taken_and_settings_that_do_not_fit() {
    use millrace::serve::Server;
    use std::sync::Arc;
    let serving = Serving::whole(&settings(), 5);
    let start = |settings: &ServeSettings| {
        let engine = serving.engine.clone();
        Server::start(settings, serving.board(), engine, Arc::new(|| 0))
            .map(|_| ())
            .expect_err("it does not")
            .to_string()
    };
    let taken = ServeSettings { address: serving.address(), ..settings() };
    assert!(start(&taken).starts_with(&format!("cannot listen on {}", serving.address())));
    let workers = ServeSettings { workers: 0, ..settings() };
    assert_eq!(start(&workers), "serve.workers = \"0\": expected 1 to 1024");
    let secret = ServeSettings { read_tokens: vec!["a b".to_owned()], ..settings() };
    assert_eq!(start(&secret), "serve.read_tokens = \"***\": expected tokens of visible ASCII, none empty");
}
