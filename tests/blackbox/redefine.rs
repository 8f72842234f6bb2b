//! A lake goes on under other settings: what depends on them is made anew from its events, and nothing else.

use super::support::{OF_ALL, Place, SHOP, answers, check_equal};

fn run(set: &str) -> String {
    format!(
        "run --until-end --format json --set serve.address= --set source.log.paths=['shop-log'] --set lake.url=lake \
         --set lake.checkpoint_ms=50 --set live.epoch_records=200 {set}"
    )
}

/// The files of a view that the newest manifest names.
fn files(place: &Place, view: &str) -> Vec<String> {
    let said = place.ok(&format!("lake files --data-dir lake --view {view} --format csv"));
    said.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn only_views_with_another_definition_are_made_anew() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    let first = place.run(&run(""));
    assert_eq!(first.code, 0, "{}", first.err);
    let sales = files(&place, "sales");

    let set = "--set views.funnel.window=1h";
    place.fails(&format!("{} --refuse-rebuild", run(set)), 1, &["funnel", "86400s, now 3600s", "views plan"]);
    let done = place.run(&run(set));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("making funnel from the events of the lake"), "{}", done.err);
    assert_eq!(files(&place, "sales"), sales, "what does not depend on the window stays as it is");
    place.replay("shop-log", "whole", set);
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "another window");

    // It is as it should be now: nothing is made, and no row is written.
    let again = place.run(&run(set));
    assert!(again.code == 0 && !again.err.contains("making"), "{}", again.err);
    assert_eq!(files(&place, "sales"), sales);
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");
}

#[test]
fn a_view_that_is_not_wanted_any_more_leaves_the_lake_and_may_come_back() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    assert_eq!(place.run(&run("")).code, 0);
    let without = "--set views.enabled=sales,quality";
    let done = place.run(&run(without));
    assert!(done.code == 0 && done.err.contains("funnel is not in views.enabled any more"), "{}", done.err);
    place.fails("query funnel --data-dir lake", 1, &["views.enabled"]);
    let done = place.run(&run(""));
    assert!(done.code == 0 && done.err.contains("made funnel, related_products, traffic"), "{}", done.err);
    place.replay("shop-log", "whole", "");
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "back again");
}

#[test]
fn what_cannot_be_redone_from_the_lake_is_said() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    assert_eq!(place.run(&run("--set lake.events=false")).code, 0);
    let set = "--set views.funnel.window=1h --set lake.events=false";
    place.fails(&run(set), 1, &["funnel", "accepted events", "lake.events"]);
    place.fails(&format!("views plan --data-dir lake {set}"), 1, &["accepted events"]);
    // Records that were rejected stay so.
    let said = place.ok("views plan --data-dir lake --set decode.max_record_bytes=5000 --set lake.events=false");
    assert!(said.contains("from now on only: decode.max_record_bytes"), "{said}");
    assert_eq!(place.run(&run("--set decode.max_record_bytes=5000 --set lake.events=false")).code, 0);
}
