//! S3: the conditional write that a commit point stands on.

use millrace_parts::or_skip;
use millrace_parts::s3::Moto;

const COMMITS: usize = 10;
const WRITERS: usize = 12;

#[test]
fn one_of_many_writers_wins() {
    let Some(mut moto) = or_skip(Moto::start()) else { return };
    moto.create_bucket("lake").expect("a bucket");
    moto.create_bucket("x").expect_err("its name is too short");
    for commit in 0..COMMITS {
        check_one_wins(&moto, &format!("/lake/commits/{commit}"));
    }
    moto.stop().expect("it stops when asked");
    moto.request("GET", "/lake/commits/0", &[], b"").expect_err("nobody listens");
}

fn check_one_wins(moto: &Moto, path: &str) {
    let put = |writer: usize| {
        let body = format!("of writer {writer}");
        let answer = moto.request("PUT", path, &["If-None-Match: *"], body.as_bytes());
        (answer.expect("an answer").status, body)
    };
    let put = &put;
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || put(writer))).collect();
        writers.into_iter().map(|writer| writer.join().expect("it asks and ends")).collect()
    });
    let winners: Vec<&str> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, body)| &**body).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 412)), "{answers:?}");
    let found = moto.request("GET", path, &[], b"").expect("an answer");
    assert!(found.status == 200 && found.text.ends_with(winners[0]), "{found:?}");
}
