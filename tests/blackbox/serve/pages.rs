//! Pages of one answer are of one epoch, whatever is published meanwhile.

use super::fixture::{Serving, answer_at, request, settings, spread, table};
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_proto::v1;
use tonic::Code;

fn query() -> Query {
    Query { order_by: vec![("page_views".to_owned(), true)], ..Query::group_by(["minute"]) }
}

#[test]
fn pages_stay_with_the_epoch_of_the_first() {
    // Without room for answers, each page is worked out again: from the same version.
    for page_cache_bytes in [256 << 20, 0] {
        let mut serving = Serving::new(&ServeSettings { page_cache_bytes, max_result_rows: 40, ..settings() });
        let mut commits = spread(8, 3).into_iter().zip(1..);
        let (first, epoch) = commits.next().expect("some");
        serving.publish(epoch, first);
        let version = serving.board().current();
        let mut page = v1::QueryRequest { page_size: 11, ..request("traffic", &query()) };
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        loop {
            let answer = serving.ask(page.clone()).expect("a page");
            assert_eq!(answer.at.expect("a place").epoch, epoch);
            assert!(answer.rows.len() <= 11);
            columns = if columns.is_empty() { answer.columns } else { columns };
            rows.extend(answer.rows);
            if let Some((changes, later)) = commits.next() {
                serving.publish(later, changes);
            }
            if answer.next_page_token.is_empty() {
                assert_eq!(answer.total_rows as usize, rows.len());
                break;
            }
            page.page_token = answer.next_page_token;
        }
        assert_eq!(table(&columns, &rows), answer_at(&version, "traffic", &query()));
        assert!(rows.len() > 4 * 11, "{}", rows.len());
    }
}

#[test]
fn a_page_token_is_for_its_query_and_for_a_while() {
    let mut serving = Serving::new(&ServeSettings { keep_epochs_ms: 1_000, ..settings() });
    let mut commits = spread(2, 4).into_iter();
    serving.publish(1, commits.next().expect("two"));
    let first = v1::QueryRequest { page_size: 5, ..request("traffic", &query()) };
    let answer = serving.ask(first.clone()).expect("a page");
    let next = v1::QueryRequest { page_token: answer.next_page_token.clone(), ..first.clone() };
    let code = |request: v1::QueryRequest| serving.ask(request).map_or_else(|status| status.code(), |_| Code::Ok);
    assert_eq!(code(next.clone()), Code::Ok);
    let other =
        v1::QueryRequest { page_token: answer.next_page_token.clone(), ..request("traffic", &Query::default()) };
    assert_eq!(code(other), Code::InvalidArgument);
    let forged = v1::QueryRequest { page_token: "12.ff.0".to_owned(), ..first.clone() };
    assert_eq!(code(forged), Code::InvalidArgument);
    let settled = v1::QueryRequest { consistency: Some(v1::Consistency::default()), ..next.clone() };
    assert_eq!(code(settled), Code::InvalidArgument);
    serving.publish(2, commits.next().expect("two"));
    assert_eq!(serving.ask(next.clone()).expect("it is kept").at.expect("a place").epoch, 1);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let status = serving.ask(next).expect_err("it is not kept any more");
    assert_eq!((status.code(), status.message().contains("start again")), (Code::Aborted, true));
}
