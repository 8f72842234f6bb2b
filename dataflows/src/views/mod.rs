//! The views: a file (or folder) each, and a line in the list.
//!
//! A view says by itself what it is called, what it answers, which columns it has and which facts it is made of. Settings, commands,
//! files, the manifest, gRPC, verification and the tests follow from the list.

mod additive;
mod grouping;
pub mod magnitude;
pub mod scores;

use crate::context::Shared;
use crate::facts::{Facts, Uses};
use crate::oracle::Observed;
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::{Key, Rows};
use crate::settings::ViewContext;
use crate::table::Table;
pub use additive::Additive;
use millrace_schema::calendar::Calendar;
use millrace_schema::{Name, Names};
use std::collections::BTreeSet;
use std::sync::Arc;

pub type MakeView = fn(&ViewContext) -> Box<dyn View>;

/// Declares the file of each view, and lists them.
macro_rules! views {
    ($($name:ident: $make:expr,)*) => {
        $(pub mod $name;)*

        /// Every view there is: name and maker.
        pub const VIEWS: &[(&str, MakeView)] = &[$((stringify!($name), $make)),*];
    };
}

views! {
    sales: |_| Box::new(sales::Sales::new()),
    funnel: |context| Box::new(funnel::Funnel::new(context)),
    related_products: |_| Box::new(related_products::RelatedProducts::new()),
    traffic: |_| Box::new(traffic::Traffic::new()),
    customers: |_| Box::new(customers::Customers::new()),
    trending: |_| Box::new(trending::Trending::new()),
    devices: |_| Box::new(devices::VIEW.view()),
    quality: |_| Box::new(quality::Quality::new()),
}

/// The view of a name.
pub fn view(name: &str, context: &ViewContext) -> Option<Box<dyn View>> {
    VIEWS.iter().find(|(known, _)| *known == name).map(|(_, make)| make(context))
}

/// Where a view stands in [`VIEWS`].
///
/// # Panics
/// Where there is no view of that name.
pub fn position_of(name: &str) -> usize {
    VIEWS.iter().position(|(known, _)| *known == name).expect("the view is one of the list")
}

/// All views, in the order of [`VIEWS`].
pub fn all(context: &ViewContext) -> impl Iterator<Item = Box<dyn View>> + '_ {
    VIEWS.iter().map(move |(_, make)| make(context))
}

/// The views that are maintained: those of these names, and those that always are.
pub fn maintained<'a>(enabled: &'a [String], context: &'a ViewContext) -> impl Iterator<Item = Box<dyn View>> + 'a {
    all(context).filter(|view| view.definition().always || enabled.iter().any(|on| on == view.name()))
}

/// What a view is, as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    /// Another one where the meaning of a row changes, or of a value.
    pub version: u32,
    /// What it answers, in English.
    pub question: &'static str,
    /// Whether it is maintained where nothing else is said.
    pub by_default: bool,
    /// Whether it is maintained whatever is said: it carries the accounts.
    pub always: bool,
    pub uses: Uses,
    /// The columns that an answer may be grouped and filtered by.
    pub groups: Vec<String>,
    /// The columns that an answer gives.
    pub values: Vec<String>,
    pub schema: ViewSchema,
}

/// A maintained answer.
///
/// # Contract
/// - The rows of `render`, accumulated up to any closed epoch and asked by `answer`, are what `oracle` computes from
///   the records accepted up to that epoch. (Tested for any order, duplication, partitioning and epoch slicing.)
/// - `render` depends on nothing but its facts and the settings that `depends_on` names: no clock, no arrival order within an epoch.
///   A fact may be taken back.
/// - A change of the meaning of a row or of a contribution is a new version.
pub trait View: Send + Sync {
    fn definition(&self) -> &Definition;

    fn name(&self) -> &'static str {
        self.definition().name
    }

    fn version(&self) -> u32 {
        self.definition().version
    }

    /// What the parts and measures of a row are.
    fn schema(&self) -> &ViewSchema {
        &self.definition().schema
    }

    /// The columns that an answer may be grouped and filtered by.
    fn group_columns(&self) -> &[String] {
        &self.definition().groups
    }

    /// The columns that an answer gives.
    fn value_columns(&self) -> &[String] {
        &self.definition().values
    }

    /// The settings that its rows depend on, and what they are: where one is another, the rows have to be made anew.
    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)>;

    fn render<'s>(&self, facts: &Facts<'s>, shared: &Shared) -> Rows<'s>;

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

    /// The groups that verification asks for: by default each column alone, and all together.
    fn verified_by(&self) -> Vec<Vec<&str>> {
        self.group_columns().iter().map(|column| vec![column.as_str()]).chain([Vec::new()]).collect()
    }

    /// The naive answer from all records: the reference that `answer` is held against.
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

impl ViewSchema {
    /// The names in a key: whoever answers shows their texts.
    pub fn names<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = Name> + 'a {
        let parts = self.tables.get(usize::from(key.table)).map_or(&[][..], |table| &table.parts);
        let names = parts.iter().zip(key.parts).filter(|(part, _)| matches!(part, Part::Name(_) | Part::User(_)));
        names.map(|(_, value)| Name(value)).filter(|name| !name.is_none())
    }
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
    /// The name of a user, under this column: see [`Name::of_user`].
    User(&'static str),
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
