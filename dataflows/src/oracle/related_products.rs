//! Which products are viewed together, and which are bought together?
//!
//! Choices: the columns are always the same, whatever is grouped by. Filters pick rows of the finished lists, whose
//! ranks stay. Scores are doubles, from one division each, of numbers without a common divisor: the root of
//! `n_ab² / (n_a n_b)`, `n_ab / (n_a + n_b − n_ab)`, `(n_ab N) / (n_a n_b)`. The four cells of `llr` are added from the smallest
//! to the largest, and twelve digits of the sum count. Which of two fractions is larger is decided on the integers.

use super::{Asked, Observed, events};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::{Kind, OwnedRecord, Page};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

pub(super) const KINDS: [&str; 2] = ["viewed_together", "bought_together"];
const SCORES: [&str; 5] = ["n_ab", "cosine", "jaccard", "lift", "llr"];
const COLUMNS: [&str; 11] =
    ["kind", "product_id", "rank", "related_id", "n_ab", "n_a", "n_b", "cosine", "jaccard", "lift", "llr"];

/// When a session (or order) last touched each of its products.
type Touches<'a> = BTreeMap<&'a str, i64>;

/// A pair of products from the first one's side.
struct Pair<'a> {
    related: &'a str,
    n_ab: i64,
    n_a: i64,
    n_b: i64,
    /// Sessions with a touch.
    n: i64,
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let (groups, filterable) = (["kind", "product_id", "rank"], ["kind", "product_id", "related_id", "rank"]);
    let asked = Asked::check("related_products", &groups, &filterable, None, context, query)?;
    let score = query.rank_by.as_deref().unwrap_or("cosine");
    if !SCORES.contains(&score) {
        return Err(QueryError::UnknownScore { score: score.to_owned() });
    }

    let mut table = Table::new(COLUMNS);
    for kind in KINDS {
        let baskets = baskets(observed, kind, context.related.max_products_per_session);
        for (product, pairs) in pairs(&baskets) {
            for (rank, pair) in (1..).zip(list(context, pairs, score)) {
                let label = |column: &str| match column {
                    "kind" => Some(kind.to_owned()),
                    "product_id" => Some(product.to_owned()),
                    "related_id" => Some(pair.related.to_owned()),
                    "rank" => Some(rank.to_string()),
                    _ => None,
                };
                if asked.key(label).is_some() {
                    table.rows.push(row(kind, product, rank, &pair));
                }
            }
        }
    }
    query.arrange(table)
}

/// The products that count of every session (or order) with a touch.
fn baskets<'a>(observed: &'a [Observed], kind: &str, max_products: usize) -> Vec<Vec<&'a str>> {
    let mut touches: BTreeMap<&str, Touches> = BTreeMap::new();
    for record in events(observed) {
        let basket = if kind == "viewed_together" { &record.session_id } else { &record.order_id };
        let touched = if kind == "viewed_together" { is_touch(record) } else { record.kind == Kind::Purchase };
        if touched && !basket.is_empty() && !record.product_id.is_empty() {
            let last = touches.entry(basket).or_default().entry(&record.product_id).or_insert(record.time);
            *last = record.time.max(*last);
        }
    }
    let cap = |touches: Touches<'a>| {
        let mut products: Vec<(&str, i64)> = touches.into_iter().collect();
        products.sort_by_key(|&(product, last)| (Reverse(last), product));
        products.into_iter().map(|(product, _)| product).take(max_products).collect()
    };
    touches.into_values().map(cap).collect()
}

fn is_touch(record: &OwnedRecord) -> bool {
    match record.kind {
        Kind::PageView => record.page == Page::ProductDetail,
        Kind::AddToCart | Kind::Purchase => true,
        _ => false,
    }
}

/// Every product's pairs.
fn pairs<'a>(baskets: &[Vec<&'a str>]) -> BTreeMap<&'a str, Vec<Pair<'a>>> {
    let mut singles: BTreeMap<&str, i64> = BTreeMap::new();
    let mut together: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for basket in baskets {
        for &a in basket {
            *singles.entry(a).or_default() += 1;
            for &b in basket.iter().filter(|&&b| b != a) {
                *together.entry((a, b)).or_default() += 1;
            }
        }
    }
    let mut pairs: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for ((a, b), n_ab) in together {
        let pair = Pair { related: b, n_ab, n_a: singles[a], n_b: singles[b], n: baskets.len() as i64 };
        pairs.entry(a).or_default().push(pair);
    }
    pairs
}

/// A product's list, best first.
fn list<'a>(context: &ViewContext, mut pairs: Vec<Pair<'a>>, score: &str) -> Vec<Pair<'a>> {
    let settings = &context.related;
    pairs.sort_by_key(|pair| (Reverse(pair.n_ab), pair.related));
    if score != "n_ab" {
        pairs.truncate(settings.candidates);
        pairs.retain(|pair| pair.n_ab >= i64::from(settings.min_together));
        pairs.sort_by(|a, b| b.order(a, score).then(a.related.cmp(b.related)));
    }
    pairs.truncate(settings.list_length);
    pairs
}

impl Pair<'_> {
    /// The score as a fraction (of `cosine`, its square): what is above the line, and what is below.
    fn fraction(&self, score: &str) -> (u128, u128) {
        let [n_ab, n_a, n_b, n] = [self.n_ab, self.n_a, self.n_b, self.n].map(|count| count as u128);
        match score {
            "cosine" => (n_ab * n_ab, n_a * n_b),
            "jaccard" => (n_ab, n_a + n_b - n_ab),
            "lift" => (n_ab * n, n_a * n_b),
            _ => unreachable!("{score} is not a fraction"),
        }
    }

    fn order(&self, other: &Pair, score: &str) -> Ordering {
        if score == "llr" {
            return self.score(score).total_cmp(&other.score(score));
        }
        let ((above, below), (other_above, other_below)) = (self.fraction(score), other.fraction(score));
        (above * other_below).cmp(&(other_above * below))
    }

    fn score(&self, score: &str) -> f64 {
        let &Pair { n_ab, n_a, n_b, n, .. } = self;
        let divided = || {
            let (above, below) = self.fraction(score);
            let common = greatest_common_divisor(above, below);
            (above / common) as f64 / (below / common) as f64
        };
        match score {
            "cosine" => divided().sqrt(),
            "jaccard" | "lift" => divided(),
            "llr" => {
                let cells = [
                    (n_ab, n_a, n_b),
                    (n_a - n_ab, n_a, n - n_b),
                    (n_b - n_ab, n - n_a, n_b),
                    (n - n_a - n_b + n_ab, n - n_a, n - n_b),
                ];
                let cell = |(k, row, column): (i64, i64, i64)| {
                    let product = |a: i64, b: i64| (a as u128 * b as u128) as f64;
                    if k == 0 { 0.0 } else { k as f64 * (product(k, n) / product(row, column)).ln() }
                };
                let mut cells = cells.map(cell);
                cells.sort_by(f64::total_cmp);
                let sum = 2.0 * cells.iter().sum::<f64>();
                format!("{sum:.11e}").parse().expect("a printed number is one")
            }
            _ => unreachable!("{score} is not a score"),
        }
    }
}

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn row(kind: &str, product: &str, rank: i64, pair: &Pair) -> Vec<Value> {
    let mut row = vec![Value::text(kind), Value::text(product), Value::Int(rank), Value::text(pair.related)];
    row.extend([pair.n_ab, pair.n_a, pair.n_b].map(Value::Int));
    row.extend(["cosine", "jaccard", "lift", "llr"].map(|score| Value::Float(pair.score(score))));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{accepted, check, context, purchase, rows, view};

    fn of(session: usize, record: OwnedRecord) -> OwnedRecord {
        OwnedRecord { session_id: session.to_string(), ..record }
    }

    /// Five sessions: a b, a b, a b c, a c, d. And one order of a and c.
    fn shop() -> Vec<Observed> {
        let sessions = ["ab", "ab", "abc", "ac", "d"];
        let views = sessions.iter().enumerate().flat_map(|(session, products)| {
            products.chars().map(move |product| of(session, view("1T07:00", &product.to_string())))
        });
        let order = ["a", "c"].map(|product| of(2, purchase("1T08:00", "o", product, 1, 100)));
        accepted(views.chain(order))
    }

    #[test]
    fn lists_by_count_and_by_score() {
        let filters = vec![("product_id".to_owned(), "a".to_owned())];
        let query = Query { rank_by: Some("n_ab".to_owned()), filters, ..Query::default() };
        // llr of (a, b): 2 (3 ln(15/12) + 1 ln(5/8) + 0 + 1 ln(5/2));
        // of (a, c): 2 (2 ln(10/8) + 2 ln(10/12) + 0 + ln(5/3)).
        let expected = [
            "bought_together a 1 c 1 1 1 1.0000 1.0000 1.0000 0.0000",
            "viewed_together a 1 b 3 4 3 0.8660 0.7500 1.2500 2.2314",
            "viewed_together a 2 c 2 4 2 0.7071 0.5000 1.2500 1.1849",
        ];
        check(answer, &shop(), &query, &expected);
        let expected = [
            "viewed_together a 1 b 3 4 3 0.8660 0.7500 1.2500 2.2314",
            "viewed_together b 1 a 3 3 4 0.8660 0.7500 1.2500 2.2314",
        ];
        check(answer, &shop(), &Query::default(), &expected);
    }

    #[test]
    fn a_session_counts_the_products_it_touched_last() {
        let mut context = context();
        context.related.max_products_per_session = 2;
        let views = [view("1T07:00", "a"), view("1T07:00", "b"), view("1T07:00", "c"), view("1T07:30", "c")];
        let query = Query { rank_by: Some("n_ab".to_owned()), ..Query::default() };
        let table = answer(&context, &accepted(views), &query).expect("an answer");
        let expected = [
            "viewed_together a 1 c 1 1 1 1.0000 1.0000 1.0000 0.0000",
            "viewed_together c 1 a 1 1 1 1.0000 1.0000 1.0000 0.0000",
        ];
        assert_eq!(rows(&table), expected);
        let unknown = Query { rank_by: Some("price".to_owned()), ..Query::default() };
        assert!(matches!(answer(&context, &[], &unknown), Err(QueryError::UnknownScore { .. })));
    }
}
