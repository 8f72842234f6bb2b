use super::*;

fn of_others(id: Option<&str>) -> LifecycleRule {
    let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
    let expiration = LifecycleExpiration::builder().days(3).build();
    let rule = LifecycleRule::builder().set_id(id.map(str::to_owned)).filter(filter).expiration(expiration);
    rule.status(ExpirationStatus::Disabled).build().expect("all it needs is given")
}

fn ours(days: u32) -> Lifecycle {
    let expire = vec![Expiry { prefix: "quarantine/".to_owned(), days }, Expiry { prefix: "a".to_owned(), days: 1 }];
    Lifecycle { expire, abort_uploads_days: Some(2) }
}

#[test]
fn rules_of_others_stay_and_ours_are_replaced() {
    let others = [of_others(None), of_others(Some("millrace")), of_others(Some("theirs"))];
    let first = merge(&others, "lake", &ours(30));
    assert_eq!(first.len(), 6);
    assert_eq!(first[3].filter().expect("each rule has one").prefix(), Some("lake/quarantine/"));
    let second = merge(&first, "lake", &ours(7));
    assert_eq!(second[..3], others);
    assert_eq!((second.len(), of_rules(&second, "lake")), (6, ours(7)));
    assert_eq!(merge(&second, "lake", &ours(7)), second);
    assert_eq!(merge(&second, "lake", &Lifecycle::default()), others);
}

#[test]
fn two_stores_in_a_bucket_keep_their_own() {
    let both = merge(&merge(&[], "", &ours(1)), "lake", &ours(2));
    assert_eq!((of_rules(&both, ""), of_rules(&both, "lake")), (ours(1), ours(2)));
    assert_eq!(of_rules(&merge(&both, "lake", &Lifecycle::default()), ""), ours(1));
}
