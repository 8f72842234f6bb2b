//! The views. One file (or folder) a view, one line here.

pub mod funnel;
mod grouping;
pub mod magnitude;
pub mod quality;
pub mod related_products;
pub mod sales;
pub mod scores;
pub mod traffic;

use crate::context::Shared;
use crate::oracle::Observed;
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::{Key, Rows};
use crate::settings::ViewContext;
use crate::table::Table;
use millrace_schema::calendar::Calendar;
use millrace_schema::{Name, Names};
use std::collections::BTreeSet;
use std::sync::Arc;

pub type MakeView = fn(&ViewContext) -> Box<dyn View>;

/// Every view there is: name and maker.
pub const VIEWS: [(&str, MakeView); 5] = [
    ("sales", |_| Box::new(sales::Sales::new())),
    ("funnel", |context| Box::new(funnel::Funnel::new(context))),
    ("related_products", |_| Box::new(related_products::RelatedProducts::new())),
    ("traffic", |_| Box::new(traffic::Traffic::new())),
    ("quality", |_| Box::new(quality::Quality::new())),
];

/// The view of a name.
pub fn view(name: &str, context: &ViewContext) -> Option<Box<dyn View>> {
    VIEWS.into_iter().find(|(known, _)| *known == name).map(|(_, make)| make(context))
}

/// A maintained answer.
///
/// # Contract
/// - The rows of `render`, accumulated up to any closed epoch and asked by `answer`, are what `oracle` computes from
///   the records accepted up to that epoch. (Tested for any order, duplication, partitioning and epoch slicing.)
/// - `render` depends on nothing but its inputs: no clock, no arrival order within an epoch.
/// - A change of the meaning of a row or of a contribution is a new `version`.
pub trait View: Send + Sync {
    fn name(&self) -> &'static str;

    fn version(&self) -> u32;

    /// What the parts and measures of a row are.
    fn schema(&self) -> &ViewSchema;

    /// The columns that an answer may be grouped and filtered by.
    fn group_columns(&self) -> &[String];

    /// The columns that an answer gives.
    fn value_columns(&self) -> &[String];

    fn render<'s>(&self, inputs: &Inputs<'s>) -> Rows<'s>;

    /// What an index adds up beforehand, so that common questions find whole sums.
    fn roller(&self, _context: &ViewContext) -> Roller {
        Roller::default()
    }

    /// Answers a question from accumulated rows.
    ///
    /// # Errors
    /// [`QueryError`] where the question does not fit the view.
    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError>;

    /// The currencies, by their codes, whose sums may not fit: their money is shown nowhere.
    fn untrusted(&self, _rows: &dyn RowSet) -> BTreeSet<u64> {
        BTreeSet::new()
    }

    /// The naive answer from all records.
    ///
    /// # Errors
    /// As [`View::answer`].
    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError>;
}

/// Which of a question's filters leaves nothing of a view by itself: what is said where an answer has no rows.
pub fn filters_of_nothing(view: &dyn View, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Vec<String> {
    let is_nothing = |filter: &&(String, String)| {
        let alone = Query { filters: vec![(*filter).clone()], ..Query::default() };
        view.answer(rows, context, &alone).is_ok_and(|table| table.rows.is_empty())
    };
    let named = query.filters.iter().filter(is_nothing);
    named.map(|(column, text)| format!("nothing in {} has {column} = {text:?}", view.name())).collect()
}

/// The collections that views are made of, shared so that no state is kept twice.
pub struct Inputs<'s> {
    pub sales: Rows<'s>,
    pub funnel: Rows<'s>,
    pub related: Rows<'s>,
    pub traffic: Rows<'s>,
    pub quality: Rows<'s>,
}

/// What an answer depends on besides the rows.
#[derive(Clone, Debug)]
pub struct AnswerContext {
    pub shared: Shared,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
}

impl AnswerContext {
    pub fn calendar(&self) -> &Calendar {
        &self.shared.context.calendar
    }

    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    pub fn text(&self, name: Name) -> Arc<str> {
        self.shared.names.text(name)
    }
}

/// Rolls rows up into coarser groups.
pub struct Roller {
    /// The tables that hold whole sums thereby.
    pub tables: Vec<u8>,
    /// Tables beyond those of the view's schema: they exist only in an index.
    pub extra_tables: Vec<TableSchema>,
    /// Hands over the groups that a row of this key is added to besides its own.
    pub roll_up: RollUp,
}

pub type RollUp = Box<dyn FnMut(&Key, &mut dyn FnMut(Key)) + Send>;

impl Default for Roller {
    fn default() -> Roller {
        Roller { tables: Vec::new(), extra_tables: Vec::new(), roll_up: Box::new(|_, _| {}) }
    }
}

/// How a view's rows are stored: tables of parts, one list of measures.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSchema {
    /// By [`crate::rows::Key::table`].
    pub tables: Vec<TableSchema>,
    pub measures: Vec<Measure>,
}

/// One table: its name, and what the parts of its keys are.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSchema {
    pub name: String,
    pub parts: Vec<Part>,
}

impl TableSchema {
    pub fn new(name: &str, parts: Vec<Part>) -> TableSchema {
        TableSchema { name: name.to_owned(), parts }
    }
}

/// What a part of a key means.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Minute,
    Hour,
    Day,
    Month,
    /// Always 0.
    Unused,
    /// A dictionary name, under this column.
    Name(&'static str),
    Currency,
    /// A plain number, under this column.
    Count(&'static str),
    /// A number that stands for one of these texts, under this column.
    Choice(&'static str, Vec<&'static str>),
    /// As `Hour`, `u64::MAX` where it is not known.
    KnownHour,
}

/// One measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    pub name: String,
    /// Whether it is in minor units of the row's currency.
    pub money: bool,
}

impl Measure {
    pub fn count(name: &str) -> Measure {
        Measure { name: name.to_owned(), money: false }
    }

    pub fn money(name: &str) -> Measure {
        Measure { name: name.to_owned(), money: true }
    }
}
