//! Layers, origins and messages.

use super::*;
use millrace_dataflows::settings::{FunnelUnit, Matcher};
use millrace_schema::{Currency, Kind, Page};
use std::path::Path;

/// What a test lays over the defaults: a file's text, variables, `--set`.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    environment: &'a [(&'a str, &'a str)],
    set: &'a [&'a str],
}

impl Given<'_> {
    fn load(&self) -> Result<Loaded, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("shop.toml");
        std::fs::write(&path, self.file).expect("it can be written");
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let sources = Sources {
            file: Some(path.clone()),
            environment: self.environment.iter().map(own).collect(),
            set: self.set.iter().map(|&set| set.to_owned()).collect(),
        };
        let folder = format!("{}/", directory.path().display());
        let loaded = sources.load().map_err(|error| error.to_string().replace(&folder, ""))?;
        loaded.validate().map_err(|error| error.to_string().replace(&folder, ""))?;
        Ok(loaded)
    }
}

fn check_error(given: Given<'_>, expected: &str) {
    assert_eq!(given.load().expect_err(expected), expected);
}

fn set<'a>(set: &'a [&'a str]) -> Given<'a> {
    Given { set, ..Given::default() }
}

fn file(file: &str) -> Given<'_> {
    Given { file, ..Given::default() }
}

fn origin(loaded: &Loaded, key: &str) -> Origin {
    loaded.leaves.iter().find(|leaf| leaf.key == key).expect("a known key").origin.clone()
}

#[test]
fn a_later_layer_wins_and_each_leaf_knows_its_own() {
    let given = Given {
        file: "[replay]\nworkers = 2\nepoch_records = 20\n[store]\ncurrency = 'EUR'\n[views.funnel]\nwindow = '2h'",
        environment: &[("MILLRACE_REPLAY__WORKERS", "3"), ("MILLRACE_VIEWS__FUNNEL__WINDOW", "3h"), ("HOME", "/")],
        set: &["replay.workers=4", "replay.workers=5"],
    };
    let loaded = given.load().expect("all is well");
    let settings = &loaded.settings;
    assert_eq!((settings.replay.workers, settings.replay.epoch_records, settings.replay.epochs_in_flight), (5, 20, 3));
    assert_eq!((settings.store.currency.as_str(), settings.views.funnel.window.as_str()), ("EUR", "3h"));
    assert_eq!(origin(&loaded, "replay.workers"), Origin::Set);
    assert_eq!(origin(&loaded, "views.funnel.window").to_string(), "environment MILLRACE_VIEWS__FUNNEL__WINDOW");
    assert!(matches!(origin(&loaded, "store.currency"), Origin::File(path) if path.ends_with("shop.toml")));
    assert_eq!(origin(&loaded, "store.time_zone"), Origin::Default);
}

#[test]
fn nothing_given_is_the_defaults_and_they_are_valid() {
    let loaded = Given::default().load().expect("defaults are valid");
    assert_eq!(loaded.settings, Settings::default());
    let validated = loaded.validate().expect("defaults are valid");
    assert_eq!(validated.decode, millrace_schema::decode::DecodeSettings::default());
    assert_eq!(validated.views.allowed_lateness_micros, 600_000_000);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    check_error(
        file("[views.funel]\nwindow = '1h'"),
        "unknown setting views.funel.window (file shop.toml); did you mean views.funnel.window?",
    );
    check_error(file("window = '1h'"), "unknown setting window (file shop.toml); did you mean views.funnel.window?");
    check_error(set(&["replay.worker=2"]), "unknown setting replay.worker (--set); did you mean replay.workers?");
    check_error(set(&["lake.currency=EUR"]), "unknown setting lake.currency (--set); did you mean store.currency?");
    let variable = &[("MILLRACE_VIEW__ENABLED", "sales")];
    check_error(
        Given { environment: variable, ..Given::default() },
        "unknown setting view.enabled (environment MILLRACE_VIEW__ENABLED); did you mean views.enabled? \
         (that is MILLRACE_VIEWS__ENABLED)",
    );
}

#[test]
fn a_wrong_value_names_what_is_expected() {
    check_error(set(&["replay.workers=many"]), "setting replay.workers = \"many\" (--set): expected a whole number");
    check_error(
        set(&["replay.workers=-1"]),
        "setting replay.workers = -1 (--set): expected a whole number of 0 or more",
    );
    check_error(set(&["replay.workers=0"]), "setting replay.workers = 0 (--set): expected 1 to 1024");
    check_error(
        file("[lake]\nevents = 'yes'"),
        "setting lake.events = \"yes\" (file shop.toml): expected true or false",
    );
    check_error(
        file("[views]\nenabled = 'sales'"),
        "setting views.enabled = \"sales\" (file shop.toml): expected a list of texts such as [\"a\", \"b\"]",
    );
    check_error(
        Given { environment: &[("MILLRACE_LAKE__COMPRESSION", "gzip")], ..Given::default() },
        "setting lake.compression = \"gzip\" (environment MILLRACE_LAKE__COMPRESSION): \
         expected `snappy` or `zstd` (unknown variant `gzip`)",
    );
    check_error(set(&["store=UTC"]), "setting store = \"UTC\" (--set): expected a section with currency, time_zone");
    check_error(set(&["s3.secret:hunter2"]), "--set s3.secret: expected KEY=VALUE, as in --set replay.workers=4");
    check_error(
        file("[store]\ncurrency = 'EUR'\ntoken = hunter2"),
        "shop.toml, line 3, is not TOML: string values must be quoted, expected literal string",
    );
}

#[test]
fn what_cannot_run_names_the_setting_and_its_origin() {
    let views: Vec<&str> = millrace_dataflows::views::VIEWS.iter().map(|(name, _)| *name).collect();
    check_error(
        set(&["views.enabled=sales,funel"]),
        &format!(
            "setting views.enabled = \"funel\" (--set): expected names of views ({}); the nearest is funnel",
            views.join(", ")
        ),
    );
    check_error(
        set(&["views.enabled=sales,sales"]),
        "setting views.enabled = \"sales\" (--set): expected each view once",
    );
    check_error(
        file("[store]\ntime_zone = 'Mars'"),
        "setting store.time_zone = \"Mars\" (file shop.toml): expected an IANA time zone such as Europe/London",
    );
    check_error(
        set(&["store.currency=XAU"]),
        "setting store.currency = \"XAU\" (--set): expected an ISO 4217 code such as USD",
    );
    check_error(
        set(&["views.funnel.window=24"]),
        "setting views.funnel.window = \"24\" (--set): expected unlimited, or a number with s, m, h or d, such as 24h: up to 36600d",
    );
    // A window in which no calendar would reach the end of.
    check_error(
        set(&["views.funnel.window=3000000d"]),
        "setting views.funnel.window = \"3000000d\" (--set): expected unlimited, or a number with s, m, h or d, such as 24h: up to 36600d",
    );
    check_error(
        file(
            "[[views.funnel.steps]]\nname = 'a'\nevents = ['page_view']\n[[views.funnel.steps]]\nname = 'b'\nevents = ['buy']",
        ),
        "setting views.funnel.steps.events = \"buy\" (file shop.toml): expected page_view, page_view:<page>, add_to_cart, \
         remove_from_cart, checkout_started or purchase",
    );
}

#[test]
fn serving_has_limits_and_its_tokens_are_secret() {
    check_error(
        set(&["serve.address=localhost"]),
        "setting serve.address = \"localhost\" (--set): expected an IP address and a port such as 0.0.0.0:7117, or empty",
    );
    check_error(set(&["serve.workers=0"]), "setting serve.workers = \"0\" (--set): expected 1 to 1024");
    check_error(
        set(&["serve.tls_key_file=key.pem"]),
        "setting serve.tls_certificate_file = \"\" (default): expected both tls_certificate_file and tls_key_file, or neither",
    );
    let given = Given {
        file: "[serve]\nread_tokens = ['hunter2', 'hunter3']",
        environment: &[("MILLRACE_TOKEN", "hunter4")],
        ..Given::default()
    };
    let loaded = given.load().expect("all is well");
    assert_eq!(loaded.settings.client.token, "hunter4");
    assert_eq!(origin(&loaded, "client.token").to_string(), "environment MILLRACE_TOKEN");
    let text = loaded.to_toml();
    let line = "# read_tokens = [\"***\", \"***\"] # file ";
    assert!(!text.contains("hunter") && text.contains(line), "{text}");
    // What is printed has no secret, rather than one that anybody knows.
    let again = file(&text).load().expect("its own output");
    assert_eq!((again.settings.serve.read_tokens.len(), again.settings.client.token.as_str()), (0, ""));
}

#[test]
fn stars_and_users_in_urls_are_refused() {
    check_error(
        set(&["serve.read_tokens=***"]),
        "setting serve.read_tokens = [\"***\"] (--set): expected the secret itself: stars are what is shown in its place",
    );
    check_error(
        Given { environment: &[("MILLRACE_TOKEN", "***")], ..Given::default() },
        "setting client.token = \"***\" (environment MILLRACE_TOKEN): expected the secret itself: stars are what is shown in its place",
    );
    check_error(
        set(&["lake.s3.endpoint=http://me:hunter2@store:9000"]),
        "setting lake.s3.endpoint = \"http://***@store:9000\" (--set): expected no user and password in it: give them by \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
}

#[test]
fn a_message_is_short() {
    let long = format!("store.currency={}", "x".repeat(1 << 20));
    let message = set(&[&long]).load().expect_err("no such currency");
    assert!(message.len() < 400 && message.contains("store.currency"), "{}", message.len());
}

#[test]
fn a_list_is_written_as_in_toml_or_with_commas() {
    for text in ["views.enabled=sales, funnel", "views.enabled=[\"sales\", 'funnel']"] {
        assert_eq!(set(&[text]).load().expect(text).settings.views.enabled, ["sales", "funnel"]);
    }
    assert_eq!(set(&["views.enabled=sales"]).load().expect("one").settings.views.enabled, ["sales"]);
    assert!(set(&["views.enabled="]).load().expect("none").settings.views.enabled.is_empty());
    check_error(
        set(&["views.enabled=[sales]"]),
        "setting views.enabled = \"[sales]\" (--set): expected a list of texts such as [\"a\", \"b\"]",
    );
}

#[test]
fn a_topic_may_be_named_by_its_name_alone() {
    let topics = |text: &str| set(&[text]).load().expect(text).settings.source.kafka.topics;
    let names = |text| topics(text).into_iter().map(|topic| topic.name).collect::<Vec<_>>();
    assert_eq!(names("source.kafka.topics=[\"events\", 'more']"), ["events", "more"]);
    assert_eq!(names("source.kafka.topics=events,more"), ["events", "more"]);
    let mixed = file("[source.kafka]\ntopics = ['events', { name = 'products', event_type = 'product' }]").load();
    let mixed = mixed.expect("all is well").settings.source.kafka.topics;
    let product = (mixed[1].name.as_str(), mixed[1].event_type.as_str());
    assert_eq!(
        (mixed[0].name.as_str(), mixed[0].event_type.as_str(), product),
        ("events", "", ("products", "product"))
    );
    let printed = set(&["source.kafka.topics=events"]).load().expect("all is well");
    assert_eq!(file(&printed.to_toml()).load().expect("its own output").settings, printed.settings);
    for wrong in ["[7]", "[{ nmae = 'events' }]", "[{ event_type = 'product' }]"] {
        let error = set(&[&format!("source.kafka.topics={wrong}")]).load().expect_err(wrong).to_string();
        assert!(error.starts_with("setting source.kafka.topics = "), "{error}");
    }
}

#[test]
fn a_place_that_is_nearly_a_url_is_no_folder() {
    for (place, meant) in [
        ("s3:/shop", "s3://shop"),
        ("s3:shop/lake", "s3://shop/lake"),
        ("S3://shop", "s3://shop"),
        ("s3:", "s3://bucket/prefix"),
        ("file:/var/lake", "s3://bucket/prefix"),
    ] {
        assert_eq!(near_a_url(place).as_deref(), Some(meant), "{place}");
        let given = format!("lake.url={place}");
        let expected = format!("setting lake.url = \"{place}\" (--set): expected a folder, or {meant}");
        check_error(set(&[&given]), &expected);
    }
    for place in ["", "lake", "./a:/b", "/var/a:b", "C:/lake", "day:1", "s3://shop/lake", "gs://shop"] {
        assert_eq!(near_a_url(place), None, "{place}");
    }
}

#[test]
fn funnel_steps_come_from_toml_as_a_whole() {
    let text = "
        [views.funnel]
        unit = 'user'
        window = 'unlimited'
        [[views.funnel.steps]]
        name = 'look'
        events = ['page_view:product', 'add_to_cart']
        [[views.funnel.steps]]
        name = 'buy'
        events = ['purchase']";
    let plan = file(text).load().expect("all is well").validate().expect("valid").views.funnel;
    assert_eq!((plan.unit, plan.window_micros), (FunnelUnit::User, None));
    let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["look", "buy"]);
    assert_eq!(plan.steps[0].matchers, [Matcher::Page(Page::ProductDetail), Matcher::Kind(Kind::AddToCart)]);
}

#[test]
fn texts_need_no_quotes_and_sections_may_be_tables() {
    let given =
        set(&["store={ currency = 'EUR' }", "decode.default_event_type=purchase", "store.time_zone='Europe/Paris'"]);
    let loaded = given.load().expect("all is well");
    let validated = loaded.validate().expect("valid");
    assert_eq!(validated.decode.default_kind, Some(Kind::Purchase));
    assert_eq!(Some(validated.decode.default_currency), Currency::parse("EUR"));
    assert_eq!(loaded.settings.store.time_zone, "Europe/Paris");
}

#[test]
fn the_printed_toml_reads_back() {
    let loaded = set(&["replay.workers=7", "views.enabled=sales"]).load().expect("all is well");
    let text = loaded.to_toml();
    assert!(text.contains("[replay]\n") && text.contains("workers = 7 # --set\n"), "{text}");
    assert_eq!(file(&text).load().expect("its own output").settings, loaded.settings);
}

#[test]
fn a_named_file_must_be_there() {
    let sources = Sources { file: Some("/nonexistent/shop.toml".into()), ..Sources::default() };
    let error = sources.load().expect_err("it is not there");
    assert!(matches!(&error, SettingsError::Unreadable { path, .. } if path == Path::new("/nonexistent/shop.toml")));
}

#[test]
fn secrets_are_starred_at_any_depth() {
    let value: toml::Value =
        "[{ user = 'me', password = 'hunter2' }, { api_key = 'hunter2', token = '' }]".parse().expect("TOML");
    let shown = redacted("sinks", &value).to_string();
    assert!(!shown.contains("hunter2") && shown.contains("***") && shown.contains("token = \"\""), "{shown}");
    assert_eq!(redacted("warehouse.Password", &"hunter2".into()).as_str(), Some("***"));
    assert!(!is_secret("store.currency"));
}
