//! The command line as clap sees it.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn check_fails(line: &str, kind: ErrorKind) {
    let arguments = line.split_whitespace();
    assert_eq!(Cli::try_parse_from(arguments).expect_err(line).kind(), kind, "{line}");
}

fn check_parses(line: &str) {
    if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
        panic!("{line}: {error}");
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  "), "{}", command.get_name());
    }
}

/// Each example of the help texts is a command line that parses.
#[test]
fn the_examples_parse() {
    let command = Cli::command();
    let helps = command.get_subcommands().chain([&command]).filter_map(|command| command.get_after_help());
    let helps: Vec<String> = helps.map(ToString::to_string).collect();
    let lines = helps.iter().flat_map(|help| help.lines()).filter(|line| line.starts_with("  "));
    let mut examples = 0;
    for line in lines {
        let line = line.split(['|', '>', '(']).next().unwrap_or_default().trim();
        let line = if line.starts_with("MILLRACE_") { line.split_once(' ').map_or("", |(_, rest)| rest) } else { line };
        check_parses(line);
        examples += 1;
    }
    assert!(examples > 15);
}

#[test]
fn what_is_missing_or_contradicts_is_refused() {
    check_fails("millrace replay --data-dir d", ErrorKind::MissingRequiredArgument);
    check_fails("millrace replay a", ErrorKind::MissingRequiredArgument);
    check_fails("millrace replay a --data-dir d --workers 0", ErrorKind::ValueValidation);
    check_fails("millrace generate --events 1 --seed 1", ErrorKind::MissingRequiredArgument);
    check_fails("millrace generate --events 1 --seed 1 --to a --log b", ErrorKind::ArgumentConflict);
    check_fails("millrace generate --events 1 --seed 1 --to a --partitions 2", ErrorKind::ArgumentConflict);
    check_fails("millrace query sales --data-dir d --from 2019-10-01", ErrorKind::MissingRequiredArgument);
    check_fails("millrace query sales --data-dir d --from 2019-10-32 --to 2019-10-01", ErrorKind::ValueValidation);
    check_fails("millrace query sales --data-dir d --where category", ErrorKind::ValueValidation);
    check_fails("millrace query sales --data-dir d --order-by day:down", ErrorKind::ValueValidation);
    check_fails("millrace query sales --data-dir d --as-of yesterday", ErrorKind::ValueValidation);
    for asks in ["query sales --data-dir d", "query sales --addr a:1", "watch sales"] {
        check_fails(&format!("millrace {asks} --limit 0"), ErrorKind::ValueValidation);
    }
    check_fails("millrace replay a --data-dir d --fail-above 101", ErrorKind::ValueValidation);
    check_fails("millrace replay a --data-dir d --fail-above most", ErrorKind::ValueValidation);
    check_fails("millrace config --to a.toml --format json", ErrorKind::ArgumentConflict);
}

#[test]
fn the_views_that_can_be_enabled_are_those_that_can_be_asked() {
    let enabled = millrace_dataflows::settings::ViewSettings::default().enabled;
    let known: Vec<&str> = millrace_dataflows::views::VIEWS.iter().map(|(name, _)| *name).collect();
    assert!(enabled.iter().all(|view| known.contains(&view.as_str())), "{enabled:?} of {known:?}");
    let loaded = Sources::default().load().expect("defaults load");
    assert_eq!(views::names(&loaded.settings), views::queryable());
}
