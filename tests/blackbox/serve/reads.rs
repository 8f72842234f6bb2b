//! Every view, many questions: what comes over the wire is what the view says.

use super::fixture::{Serving, VIEWS, expected, questions, request, settings, shop, table};
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::Value;
use millrace_proto::v1;
use millrace_schema::Currency;
use tonic::Code;

#[test]
fn answers_are_the_views() {
    let serving = Serving::whole(&settings(), 7);
    let mut client = serving.client();
    let (mut good, mut bad) = (0, 0);
    for view in VIEWS {
        for query in questions(view) {
            let answer = serving.runtime.block_on(client.query(request(view, &query)));
            match (answer, expected(view, &query)) {
                (Ok(answer), Ok(expected)) => {
                    let answer = answer.into_inner();
                    assert_eq!(table(&answer.columns, &answer.rows), expected, "{view} {query:?}");
                    assert_eq!(answer.total_rows as usize, expected.rows.len());
                    assert_eq!(answer.at.expect("where it is true").epoch, 7);
                    good += 1;
                }
                (Err(status), Err(message)) => {
                    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message.as_str()));
                    bad += 1;
                }
                (answer, expected) => panic!("{view} {query:?}: {answer:?}, expected {expected:?}"),
            }
        }
    }
    assert!(good > 80 && bad > 20, "{good} {bad}");
}

#[test]
fn heavy_questions_have_the_same_answers() {
    let aside = ServeSettings { light_rows_max: 0, heavy_queries_max: 1, ..settings() };
    let serving = Serving::whole(&aside, 7);
    let mut client = serving.client();
    for view in VIEWS {
        for query in questions(view).into_iter().step_by(3) {
            let answer = serving.runtime.block_on(client.query(request(view, &query)));
            match (answer, expected(view, &query)) {
                (Ok(answer), Ok(expected)) => {
                    let answer = answer.into_inner();
                    assert_eq!(table(&answer.columns, &answer.rows), expected, "{view} {query:?}");
                }
                (Err(status), Err(message)) => assert_eq!(status.message(), message),
                (answer, expected) => panic!("{view} {query:?}: {answer:?}, expected {expected:?}"),
            }
        }
    }
}

fn money(money: Option<v1::Money>) -> Value {
    let money = money.expect("an amount");
    let currency = Currency::parse(&money.currency).expect("a currency");
    Value::Money(money.amount.replace('.', "").parse().expect("digits"), currency)
}

fn ratio(value: Option<f64>) -> Value {
    value.map_or(Value::Null, Value::Float)
}

fn sales_cells(row: v1::SalesRow) -> Vec<Value> {
    let groups = [row.hour, row.day, row.month, row.product_id, row.category, row.category_as_was, row.currency];
    let mut cells: Vec<Value> = groups.into_iter().flatten().map(Value::text).collect();
    cells.extend([row.lines, row.orders, row.units, row.units_returned, row.net_units].map(Value::Int));
    cells.extend([row.gross_sales, row.discounts, row.order_revenue, row.returns].map(money));
    cells.extend([row.returns_as_sold, row.net_sales].map(money));
    cells.push(ratio(row.average_order_value));
    cells
}

#[test]
fn typed_sales_are_the_views() {
    let serving = Serving::whole(&settings(), 7);
    let mut client = serving.client();
    let day = expected("sales", &Query::group_by(["day"])).expect("it fits").rows[0][1].to_string();
    let filter = |column: &str, text: &str| vec![(column.to_owned(), text.to_owned())];
    let by = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    let requests = [
        (v1::GetSalesRequest::default(), Query::default()),
        (
            v1::GetSalesRequest { day: Some(day.clone()), ..Default::default() },
            Query { filters: filter("day", &day), ..Query::default() },
        ),
        (
            v1::GetSalesRequest { group_by: by(&["currency", "product_id"]), limit: 20, ..Default::default() },
            Query { limit: Some(20), ..Query::group_by(["currency", "product_id"]) },
        ),
        (
            v1::GetSalesRequest {
                group_by: by(&["day", "category"]),
                currency: Some("JPY".to_owned()),
                ..Default::default()
            },
            Query { filters: filter("currency", "JPY"), ..Query::group_by(["day", "category"]) },
        ),
    ];
    for (request, query) in requests {
        let answer = serving.runtime.block_on(client.get_sales(request)).expect("it fits").into_inner();
        let expected = expected("sales", &query).expect("it fits");
        // Groups stand in the contract's order: the questions name theirs so.
        let mut rows: Vec<Vec<Value>> = answer.rows.into_iter().map(sales_cells).collect();
        let mut expected_rows = expected.rows;
        let currency = expected.columns.iter().position(|column| column == "currency");
        let groups = expected.columns.len() - 12;
        if let Some(currency) = currency {
            // The currency is the last of the groups in the contract.
            expected_rows.iter_mut().for_each(|row| row[currency..groups].rotate_left(1));
        }
        let text = |rows: &mut Vec<Vec<Value>>| {
            rows.sort_by_key(|row| format!("{row:?}"));
        };
        text(&mut rows);
        text(&mut expected_rows);
        assert!(!rows.is_empty());
        assert_eq!(rows, expected_rows, "{query:?}");
    }
}

#[test]
fn typed_related_products_and_funnel_are_the_views() {
    let serving = Serving::whole(&settings(), 7);
    let mut client = serving.client();
    let all = expected("related_products", &Query::default()).expect("it fits");
    let mut products: Vec<String> = all.rows.iter().map(|row| row[1].to_string()).collect();
    products.dedup();
    for (product, kind) in products.iter().take(8).zip(["", "viewed_together", "bought_together"].iter().cycle()) {
        let request = v1::GetRelatedProductsRequest {
            product_id: product.clone(),
            kind: (*kind).to_owned(),
            rank_by: "lift".to_owned(),
            limit: 7,
            consistency: None,
        };
        let answer = serving.runtime.block_on(client.get_related_products(request)).expect("it fits").into_inner();
        let mut filters = vec![("product_id".to_owned(), product.clone())];
        filters.extend((!kind.is_empty()).then(|| ("kind".to_owned(), (*kind).to_owned())));
        let query = Query { filters, rank_by: Some("lift".to_owned()), limit: Some(7), ..Query::default() };
        let cells = |row: v1::RelatedProduct| {
            let mut cells = vec![Value::text(row.kind), Value::text(row.product_id), Value::Int(row.rank)];
            cells.push(Value::text(row.related_id));
            cells.extend([row.n_ab, row.n_a, row.n_b].map(Value::Int));
            cells.extend([row.cosine, row.jaccard, row.lift, row.llr].map(Value::Float));
            cells
        };
        let rows: Vec<Vec<Value>> = answer.rows.into_iter().map(cells).collect();
        assert_eq!(rows, expected("related_products", &query).expect("it fits").rows, "{product}");
    }
    for group_by in [vec![], vec!["day"], vec!["device"], vec!["month", "category"]] {
        let query = Query::group_by(group_by.iter().copied());
        let request = v1::GetFunnelRequest { group_by: query.group_by.clone(), ..Default::default() };
        let answer = serving.runtime.block_on(client.get_funnel(request)).expect("it fits").into_inner();
        let expected = expected("funnel", &query).expect("it fits");
        let rows: Vec<Vec<Value>> = answer.rows.into_iter().map(funnel_cells).collect();
        assert_eq!(rows, expected.rows, "{group_by:?}");
    }
}

fn funnel_cells(row: v1::FunnelRow) -> Vec<Value> {
    let groups = [row.day, row.month, row.category, row.referrer, row.device];
    let mut cells: Vec<Value> = groups.into_iter().flatten().map(Value::text).collect();
    cells.push(Value::Int(row.sessions));
    cells.extend(row.steps.iter().map(|step| Value::Int(step.reached)));
    cells.extend(row.steps.iter().map(|step| Value::Int(step.ordered)));
    cells.extend([Value::Int(row.carts_abandoned), ratio(row.cart_abandonment)]);
    cells.extend(row.steps[1..].iter().map(|step| ratio(step.step_conversion)));
    let seconds = [row.median_seconds_to_purchase, row.p90_seconds_to_purchase, row.mean_seconds_to_purchase];
    cells.push(ratio(row.overall_conversion));
    cells.extend(seconds.map(ratio));
    cells.push(row.immature_until.map_or(Value::Null, Value::text));
    cells.push(Value::Int(row.capped_sessions));
    cells
}

#[test]
fn nonsense_is_refused_with_what_to_change() {
    let serving = Serving::whole(&ServeSettings { max_result_rows: 5, ..settings() }, 7);
    let ask = |request: v1::QueryRequest| serving.ask(request).expect_err("nonsense");
    let check = |request: v1::QueryRequest, code: Code, words: &[&str]| {
        let status = ask(request);
        assert_eq!(status.code(), code, "{status:?}");
        words.iter().for_each(|word| assert!(status.message().contains(word), "{word}: {}", status.message()));
    };
    let of = |query: v1::Query| v1::QueryRequest { query: Some(query), ..Default::default() };
    check(v1::QueryRequest::default(), Code::InvalidArgument, &["query"]);
    check(request("nothing", &Query::default()), Code::NotFound, &["\"nothing\"", "sales, funnel"]);
    let sales = || v1::Query { view: "sales".to_owned(), group_by: vec!["day".to_owned()], ..Default::default() };
    let range = |from: &str, to: &str| Some(v1::DayRange { from: from.to_owned(), to: to.to_owned() });
    check(of(v1::Query { days: range("2019-10-02", "2019-10-01"), ..sales() }), Code::InvalidArgument, &["after"]);
    check(of(v1::Query { days: range("today", ""), ..sales() }), Code::InvalidArgument, &["days.from", "today"]);
    check(of(v1::Query { days: range("2019-10-01", "9999-12-30"), ..sales() }), Code::InvalidArgument, &["days.to"]);
    let hours = v1::Query { view: "quality".to_owned(), group_by: vec!["hour".to_owned()], ..sales() };
    let always = range("1970-01-01", "2199-12-31");
    check(of(v1::Query { days: always, ..hours }), Code::InvalidArgument, &["fewer days"]);
    let month = v1::Filter { column: "month".to_owned(), value: "9999-12".to_owned() };
    check(of(v1::Query { filters: vec![month], ..sales() }), Code::InvalidArgument, &["9999-12", "2199"]);
    let as_of = Some(millrace_proto::prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
    check(of(v1::Query { as_of, ..sales() }), Code::InvalidArgument, &["as_of"]);
    check(request("related_products", &Query::default()), Code::ResourceExhausted, &["page_size", "gives 5"]);
    let product = v1::GetRelatedProductsRequest::default();
    let mut client = serving.client();
    let status = serving.runtime.block_on(client.get_related_products(product)).expect_err("no product");
    assert_eq!((status.code(), status.message().contains("product_id")), (Code::InvalidArgument, true));
    let all = v1::GetSalesRequest { group_by: vec!["product_id".to_owned()], ..Default::default() };
    let status = serving.runtime.block_on(client.get_sales(all)).expect_err("too many rows");
    assert_eq!((status.code(), status.message().contains("limit")), (Code::ResourceExhausted, true));
    // The largest request is bounded, too.
    let small = Serving::whole(&ServeSettings { request_bytes_max: 2_000, ..settings() }, 7);
    let long = Query { filters: vec![("category".to_owned(), "x".repeat(3_000))], ..Query::default() };
    let status = small.ask(request("sales", &long)).expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange);
}

#[test]
fn what_can_be_asked_and_how_things_stand() {
    let serving = Serving::whole(&settings(), 7);
    let mut client = serving.client();
    let views = serving.runtime.block_on(client.list_views(v1::ListViewsRequest {})).expect("views").into_inner();
    let (rejected, views) = views.views.split_last().expect("views");
    assert_eq!((rejected.name.as_str(), rejected.value_columns.len()), ("quarantine", 2));
    for view in views {
        let made = millrace_dataflows::views::view(&view.name, &shop().shared.context).expect("a view");
        assert_eq!((&view.group_columns[..], &view.value_columns[..]), (made.group_columns(), made.value_columns()));
        assert_eq!((view.version, view.changed_at), (made.version(), 7));
    }
    assert_eq!(views.len(), VIEWS.len());
    let _ = serving.runtime.block_on(client.query(v1::QueryRequest::default()));
    let status = serving.runtime.block_on(client.get_status(v1::GetStatusRequest {})).expect("status").into_inner();
    let at = status.at.expect("where it is true");
    assert_eq!((at.epoch, at.positions[0].next_offsets.as_slice(), at.restored), (7, &[7, 3][..], false));
    let engine = status.engine.expect("the engine's");
    assert_eq!((engine.epoch, engine.workers, engine.partitions.len(), engine.held[0].count), (9, 3, 2, 12));
    assert_eq!(engine.partitions[1].end_offset, Some(100));
    let accounting = status.accounting.expect("quality is there");
    let parts = accounting.accepted + accounting.duplicates + accounting.quarantined + accounting.pending;
    assert!(accounting.read > 2_000 && accounting.read == parts);
    let methods = status.server.expect("the server's").methods;
    let counts = |name: &str| {
        let method = methods.iter().find(|method| method.method.ends_with(name));
        method.map(|method| (method.requests, method.errors, method.seconds > 0.0))
    };
    assert_eq!(counts("ListViews"), Some((1, 0, true)));
    assert_eq!(counts("/Query"), Some((1, 1, true)));
    assert_eq!(counts("GetFunnel"), None);
    let mut rejected = request("quarantine", &Query::default());
    assert_eq!(serving.ask(rejected.clone()).expect("a list").columns.len(), 2);
    rejected.query.as_mut().expect("a question").group_by = vec!["rule".to_owned()];
    assert_eq!(serving.ask(rejected).expect_err("it has no groups").code(), Code::InvalidArgument);
}

#[test]
fn nothing_is_answered_before_the_first_epoch() {
    let serving = Serving::new(&settings());
    let status = serving.ask(request("sales", &Query::default())).expect_err("nothing is published");
    assert_eq!(status.code(), Code::Unavailable);
    let mut client = serving.client();
    let status = serving.runtime.block_on(client.get_status(v1::GetStatusRequest {})).expect("status").into_inner();
    assert!(status.accounting.is_none() && status.at.expect("a place").epoch == 0);
}
