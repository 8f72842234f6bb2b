//! `related_products`: what is viewed together in a session, and bought together in an order.
//!
//! ```sql
//! SELECT a.product_id, b.product_id AS related_id, count(*) AS n_ab
//! FROM touched a JOIN touched b USING (session_id) WHERE a.product_id <> b.product_id GROUP BY ALL
//! -- touched: the distinct products of a session, at most the 50 most recently touched
//! ```
//!
//! Rows are the listed pairs (see [`crate::operators::pairs`]), the n of every product and the N of each kind; scores
//! and ranks are computed when read, because a score with n_a in it would move every pair of a at each touch.

use crate::context::Shared;
use crate::facts::{Facts, Uses};
use crate::operators::pairs::{ITEM_TABLE, PAIR_TABLE, RelatedKind, TOTAL_TABLE};
use crate::oracle::{self, Observed};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Rows};
use crate::settings::{RelatedSettings, ViewContext};
use crate::table::{Table, Value};
use crate::views::scores::{Counts, Ranked, Score};
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use millrace_schema::Name;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct RelatedProducts {
    definition: Definition,
}

impl RelatedProducts {
    pub fn new() -> RelatedProducts {
        let kind = || Part::Choice("kind", RelatedKind::ALL.map(RelatedKind::as_str).to_vec());
        let tables = vec![
            TableSchema::new("pair", vec![kind(), Part::Name("product_id"), Part::Name("related_id")]),
            TableSchema::new("product", vec![kind(), Part::Name("product_id")]),
            TableSchema::new("total", vec![kind()]),
        ];
        RelatedProducts {
            definition: Definition {
                name: "related_products",
                version: 2,
                question: "Which products are viewed or bought together?",
                by_default: true,
                always: false,
                uses: Uses { together: true, ..Uses::NOTHING },
                groups: ["kind", "product_id", "rank"].map(String::from).to_vec(),
                values: ["related_id", "n_ab", "n_a", "n_b", "cosine", "jaccard", "lift", "llr"]
                    .map(String::from)
                    .to_vec(),
                schema: ViewSchema { tables, measures: vec![Measure::count("n"), Measure::count("capped")] },
            },
        }
    }
}

impl Default for RelatedProducts {
    fn default() -> RelatedProducts {
        RelatedProducts::new()
    }
}

/// A product and what it is together with: how often, and what.
struct Product {
    kind: u64,
    name: Name,
    pairs: Vec<(i64, Name)>,
}

impl Product {
    fn empty(&self) -> Product {
        Product { kind: self.kind, name: self.name, pairs: Vec::new() }
    }
}

/// The list of a product, best first. Texts and counts are looked up for as few as it takes: they lie far away.
fn ranked(
    mut pairs: Vec<(i64, Name)>,
    score: Score,
    limits: &RelatedSettings,
    counts: impl Fn((i64, Name)) -> Counts,
    text: impl Fn(Name) -> Arc<str>,
) -> Vec<(Arc<str>, Counts)> {
    let most = if score == Score::Count { limits.list_length } else { limits.candidates };
    pairs = best(pairs, most, |(both, _), (other, _)| both.cmp(other), |(_, name)| text(*name));
    let counted = pairs.into_iter().map(|pair| (Ranked::of(counts(pair), score), pair.1)).collect();
    let list = best(counted, limits.list_length, |(a, _), (b, _)| a.order(b, score), |(_, name)| text(*name));
    list.into_iter().map(|(ranked, name)| (text(name), ranked.counts)).collect()
}

/// The greatest, in descending order; those of one score by their texts.
fn best<T: Copy>(
    mut all: Vec<T>,
    most: usize,
    ascending: impl Fn(&T, &T) -> Ordering,
    text: impl Fn(&T) -> Arc<str>,
) -> Vec<T> {
    let descending = |a: &T, b: &T| ascending(b, a);
    if most == 0 {
        return Vec::new();
    }
    if most < all.len() {
        let (_, last, _) = all.select_nth_unstable_by(most - 1, descending);
        let last = *last;
        // With all of the last one's score: among them the text decides.
        all.retain(|entry| ascending(entry, &last).is_ge());
    }
    all.sort_unstable_by(descending);
    for same in all.chunk_by_mut(|a, b| descending(a, b).is_eq()) {
        if same.len() > 1 {
            same.sort_by_cached_key(&text);
        }
    }
    all.truncate(most);
    all
}

impl View for RelatedProducts {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        let related = &context.related;
        // What is listed of a product is the largest of either: ranking among them happens when an answer is read.
        vec![
            context.session_gap(),
            ("views.related_products.list_length", related.list_length.to_string()),
            ("views.related_products.candidates", related.candidates.to_string()),
            ("views.related_products.max_products_per_session", related.max_products_per_session.to_string()),
        ]
    }

    fn render<'s>(&self, facts: &Facts<'s>, _shared: &Shared) -> Rows<'s> {
        facts.together.clone()
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        let wanted = Wanted::of(query)?;
        let limits = &context.shared.context.related;
        // A list by a score leaves out what is seldom together: its rows need not be looked at any further.
        let least = if wanted.score == Score::Count { 1 } else { i64::from(limits.min_together) };
        let mut lists: BTreeMap<(u64, Arc<str>), Product> = BTreeMap::new();
        let of = |key: Key| rows.get(&key).map_or(0, |measures| measures.get(0));
        for span in wanted.spans() {
            let mut last: Option<Product> = None;
            let mut keep = |product: Product| {
                let pairs =
                    &mut lists.entry((product.kind, context.text(product.name))).or_insert(product.empty()).pairs;
                pairs.extend(product.pairs);
            };
            rows.scan(&span, &mut |key, sums| {
                let both = sums.get(0);
                if !wanted.product(key) || both < least {
                    return;
                }
                let [kind, name, related, ..] = key.parts;
                // Rows of one product mostly come one after the other.
                if let Some(before) = last.take_if(|product| (product.kind, product.name.0) != (kind, name)) {
                    keep(before);
                }
                let new = || Product { kind, name: Name(name), pairs: Vec::new() };
                last.get_or_insert_with(new).pairs.push((both, Name(related)));
            });
            last.into_iter().for_each(&mut keep);
        }
        let mut table = Table::new(self.definition.groups.iter().chain(&self.definition.values));
        for ((_, text), product) in lists {
            let kind = RelatedKind::ALL[product.kind as usize];
            let all = of(Key::new(TOTAL_TABLE, [product.kind]));
            let a = of(Key::new(ITEM_TABLE, [product.kind, product.name.0]));
            let counts = |(both, related): (i64, Name)| Counts {
                both,
                a,
                b: of(Key::new(ITEM_TABLE, [product.kind, related.0])),
                all,
            };
            let list = ranked(product.pairs, wanted.score, limits, counts, |name| context.text(name));
            for (index, (related, counts)) in list.into_iter().enumerate() {
                let rank = (index + 1).to_string();
                if wanted.related.iter().any(|wanted| **wanted != *related) || wanted.ranks.iter().any(|w| *w != rank) {
                    continue;
                }
                table.rows.push(vec![
                    Value::text(kind.as_str()),
                    Value::Text(text.clone()),
                    Value::Int(index as i64 + 1),
                    Value::Text(related),
                    Value::Int(counts.both),
                    Value::Int(counts.a),
                    Value::Int(counts.b),
                    Value::Float(counts.cosine()),
                    Value::Float(counts.jaccard()),
                    Value::Float(counts.lift()),
                    Value::Float(counts.log_likelihood()),
                ]);
            }
        }
        query.arrange(table)
    }

    /// All scores stand in the rows.
    fn verified_by(&self) -> Vec<Vec<&str>> {
        vec![vec!["kind", "product_id", "rank"]]
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        oracle::related_products::answer(context, observed, query)
    }
}

/// What of the lists is asked for: all of these must hold.
struct Wanted {
    score: Score,
    kinds: Vec<u64>,
    products: Vec<Name>,
    related: Vec<String>,
    ranks: Vec<String>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Wanted, QueryError> {
        let score = query.rank_by.as_deref().unwrap_or("cosine");
        let score = Score::parse(score).ok_or_else(|| QueryError::UnknownScore { score: score.to_owned() })?;
        let unknown = |column: &str| QueryError::UnknownGroup {
            view: "related_products",
            column: column.to_owned(),
            known: "kind, product_id, rank, related_id".to_owned(),
        };
        let mut wanted =
            Wanted { score, kinds: Vec::new(), products: Vec::new(), related: Vec::new(), ranks: Vec::new() };
        for column in &query.group_by {
            if !["kind", "product_id", "related_id", "rank"].contains(&column.as_str()) {
                return Err(unknown(column));
            }
        }
        for (column, text) in &query.filters {
            match column.as_str() {
                "kind" => {
                    let kind = RelatedKind::ALL.into_iter().find(|kind| kind.as_str() == text);
                    let kind = kind.ok_or_else(|| QueryError::BadFilter {
                        column: column.clone(),
                        text: text.clone(),
                        expected: "viewed_together or bought_together",
                    })?;
                    wanted.kinds.push(kind as u64);
                }
                "product_id" => wanted.products.push(Name::of(text)),
                "related_id" => wanted.related.push(text.clone()),
                "rank" => wanted.ranks.push(text.clone()),
                _ => return Err(unknown(column)),
            }
        }
        Ok(wanted)
    }

    /// Where the pairs that are asked for are.
    fn spans(&self) -> Vec<Span> {
        let kinds = RelatedKind::ALL.map(|kind| kind as u64).into_iter();
        let kinds = kinds.filter(|kind| self.kinds.iter().all(|wanted| wanted == kind));
        let of_kind = |kind| match &self.products[..] {
            [product, ..] => Span::of(PAIR_TABLE, &[kind, product.0]),
            [] => Span::of(PAIR_TABLE, &[kind]),
        };
        kinds.map(of_kind).collect()
    }

    fn product(&self, key: &Key) -> bool {
        self.kinds.iter().all(|&kind| key.parts[0] == kind) && self.products.iter().all(|name| key.parts[1] == name.0)
    }
}
