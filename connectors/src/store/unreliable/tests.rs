use super::*;

fn share(failures: &Failures, fate: Fate) -> u64 {
    (1..=10_000).filter(|nth| decide(failures, Operation::Put, *nth).0 == fate).count() as u64
}

#[test]
fn the_rates_are_those_that_were_asked_for() {
    let failures = Failures { before: 100, after: 50, slow: 300, delay: Duration::ZERO, seed: 7 };
    assert!((900..1_100).contains(&share(&failures, Fate::FailsBefore)));
    assert!((400..600).contains(&share(&failures, Fate::FailsAfter)));
    let slow = (1..=10_000).filter(|nth| decide(&failures, Operation::Get, *nth).1).count();
    assert!((2_800..3_200).contains(&slow), "{slow}");
    assert_eq!(share(&Failures::default(), Fate::Works), 10_000);
    assert_eq!(share(&Failures { after: 1_000, ..Failures::default() }, Fate::FailsAfter), 10_000);
}

#[test]
fn a_seed_is_one_schedule_and_operations_have_their_own() {
    let of = |seed, operation| {
        let failures = Failures { before: 300, after: 300, seed, ..Failures::default() };
        (1..=64).map(|nth| decide(&failures, operation, nth)).collect::<Vec<_>>()
    };
    assert_eq!(of(1, Operation::Put), of(1, Operation::Put));
    assert_ne!(of(1, Operation::Put), of(2, Operation::Put));
    assert_ne!(of(1, Operation::Put), of(1, Operation::Get));
}
