//! What was too old to be merged when it came is merged by a repair, as if it had come in time.

use super::support::{OF_ALL, OF_EVENTS, Place, SHOP, accounting, answers, check_equal};

const SETTINGS: &str =
    "--set horizons.deduplication=1m --set horizons.sessions=1m --set views.allowed_lateness_ms=1000";

#[test]
fn what_was_pending_counts_as_if_it_had_come_in_time() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    let whole = place.replay("shop-log", "whole", "--set views.allowed_lateness_ms=1000");
    let run = format!(
        "run --quiet --until-end --format json --set serve.address= --set source.log.paths=['shop-log'] \
         --set lake.url=lake --set lake.checkpoint_ms=50 --set live.epoch_records=30 {SETTINGS}"
    );
    let [read, accepted, .., pending] = accounting(&place.ok(&run));
    assert_eq!(read, whole[0]);
    assert!(pending > 10 && accepted < whole[1], "{pending} of {read} are pending");
    assert!(pending_files(&place) > 0);
    assert_ne!(answers(&place, "whole", OF_EVENTS), answers(&place, "lake", OF_EVENTS));

    let said = place.ok(&format!("repair --data-dir lake {SETTINGS}"));
    assert!(said.contains(&format!("{pending} records were pending")) && said.contains("nothing is pending"), "{said}");
    // Its rows by hour and rule, too.
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "repaired");
    let total = place.table("lake", "quality").pick("read accepted duplicates quarantined pending");
    assert_eq!(total, [whole.map(|count| count.to_string()).join(" ")]);
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");
    assert_eq!(pending_files(&place), 0);

    // An engine goes on from it, and there is nothing more to repair.
    assert_eq!(accounting(&place.ok(&run)), whole);
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "gone on");
    let said = place.ok(&format!("repair --data-dir lake {SETTINGS}"));
    assert!(said.contains(": 0 records were pending"), "{said}");
}

fn pending_files(place: &Place) -> usize {
    // The first line is the header.
    place.ok("lake files --data-dir lake --kind pending --format csv").lines().skip(1).count()
}
