//! Golden stories: `*.story` beside this file, each read aloud by 1, 2 and 4 workers.
//!
//! ```text
//! # Prose.
//! settings zone=Europe/London window=1h      before the first record; what is not said is as the product has it
//! insert partition=1                         records follow, indented: `<event_type> key=value …`, or JSON
//!   purchase order=o1 product=tea at=1T07:30 paid=5.00
//! late by=2h                                 as insert; the transport saw them that much after their time
//! advance                                    closes the epoch
//! show sales by=day where=category=Drinks    the answer at the last closed epoch, also held against the oracle
//! > day         lines …
//! changes sales                              what that epoch changed, net
//! > …
//! ```
//! `UPDATE_STORIES=1` writes what is expected anew: read the difference before you keep it.

mod parse;
mod tell;

use crate::support::run::How;
use std::path::Path;

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(name);
    let text = std::fs::read_to_string(&path).expect("a story is a file");
    let story = parse::parse(&text);
    for (workers, in_flight) in [(1, 1), (2, 2), (4, 3)] {
        let told = tell::tell(&story, How { in_flight, ..How::workers(workers) });
        if told != text && std::env::var_os("UPDATE_STORIES").is_some() && workers == 1 {
            std::fs::write(&path, &told).expect("the story can be written");
            return check(name);
        }
        for (number, (told, written)) in (1..).zip(told.lines().zip(text.lines())) {
            assert_eq!(
                told,
                written,
                "{name}:{number}, {workers} workers\nall of it:\n{}",
                tell::around(number, &story, &text)
            );
        }
        assert_eq!(told.lines().count(), text.lines().count(), "{name}: rows are missing at the end");
    }
}

#[test]
fn every_story_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let entries = std::fs::read_dir(folder).expect("there are stories");
    let names = entries.map(|entry| entry.expect("a folder can be listed").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".story")).collect();
    names.sort();
    assert!(names.len() >= 9, "there are stories: {names:?}");
    names.iter().for_each(|name| check(name));
}
