//! What a running engine rejects, said while it goes on: with the first look that finds it, when a rule comes that was not said yet, and
//! whenever as much again has come. So a log has it soon, and not again and again.

use super::rejected::{Counts, Place, lines};
use crate::commands::{RejectedRule, rejected_rules};
use crate::live::RejectExample;
use crate::serve::Published;
use millrace_dataflows::views::quality::Accounting;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Watch {
    place: Option<Place>,
    said: Counts,
    rules: BTreeSet<String>,
}

impl Watch {
    /// What an earlier run has rejected is not said again.
    pub(super) fn of(version: &Published, place: Option<Place>) -> Watch {
        let (said, rules) = seen(version, BTreeMap::new());
        Watch { place, said, rules: rules.into_iter().map(|rule| rule.rule).collect() }
    }

    /// What is to be said now, a line each.
    pub(super) fn look(
        &mut self,
        version: &Published,
        examples: impl FnOnce() -> BTreeMap<&'static str, RejectExample>,
    ) -> Vec<String> {
        let (counts, _) = seen(version, BTreeMap::new());
        if counts.rejected == self.said.rejected && counts.pending == self.said.pending {
            return Vec::new();
        }
        let (counts, rules) = seen(version, examples());
        self.due(counts, &rules)
    }

    fn due(&mut self, now: Counts, rules: &[RejectedRule]) -> Vec<String> {
        let doubled = |now: u64, said: u64| now > said && now >= 2 * said;
        let is_new = rules.iter().any(|rule| !self.rules.contains(&rule.rule));
        let mut due = Vec::new();
        if doubled(now.rejected, self.said.rejected) || is_new {
            self.said.rejected = now.rejected;
            self.rules.extend(rules.iter().map(|rule| rule.rule.clone()));
            due.push(Counts { pending: 0, ..now });
        }
        // What is repaired is not pending any more, and may come again.
        self.said.pending = self.said.pending.min(now.pending);
        if doubled(now.pending, self.said.pending) {
            self.said.pending = now.pending;
            due.push(Counts { rejected: 0, ..now });
        }
        due.into_iter().map(|counts| one_line(counts, rules, self.place.as_ref())).collect()
    }
}

fn one_line(counts: Counts, rules: &[RejectedRule], place: Option<&Place>) -> String {
    let lines = lines(counts, rules, place);
    lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join(" | ")
}

fn seen(version: &Published, examples: BTreeMap<&'static str, RejectExample>) -> (Counts, Vec<RejectedRule>) {
    let Some(quality) = version.view("quality") else { return Default::default() };
    let accounting = Accounting::of(&quality.index);
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let counts = Counts {
        read: count(accounting.read),
        rejected: count(accounting.quarantined),
        pending: count(accounting.pending),
    };
    (counts, rejected_rules(&quality.index, examples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_again_when_there_is_twice_as_much_or_something_new() {
        let mut watch = Watch { place: None, said: Counts::default(), rules: BTreeSet::new() };
        let mut said = |rejected: u64, pending: u64, rules: &[&str]| {
            let rule = |rule: &&str| RejectedRule { rule: (*rule).to_owned(), records: 1, example: None };
            let rules: Vec<RejectedRule> = rules.iter().map(rule).collect();
            watch.due(Counts { read: 1_000, rejected, pending }, &rules).len()
        };
        assert_eq!(said(0, 0, &[]), 0);
        assert_eq!(said(3, 0, &["a"]), 1);
        assert_eq!(said(3, 0, &["a"]), 0);
        assert_eq!(said(5, 0, &["a"]), 0);
        assert_eq!(said(6, 0, &["a"]), 1);
        assert_eq!(said(7, 0, &["a", "b"]), 1);
        assert_eq!(said(7, 9, &["a", "b"]), 1);
        assert_eq!(said(20, 30, &["a", "b"]), 2);
        assert_eq!(said(20, 0, &["a", "b"]), 0);
        assert_eq!(said(20, 1, &["a", "b"]), 1);
    }
}
