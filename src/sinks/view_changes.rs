//! The net changes of a view between two checkpoints, as before and after.
//!
//! ```text
//! rows at the frontier ── files of changes since ──▶ rows now          what is touched: before, after
//!                     └── rows of the new snapshot, where the view was made anew: what differs
//! ```
//! The rows of the frontier are held in memory, as the engine holds them. They come from the lake after a start, and after a failure.

use super::content::{At, Content, Out, Prepared, is_lost};
use super::render::{Rendered, render};
use crate::checkpoint::{Cursor, FileEntry, Since, ViewEntry, check_version, checked, rows_of, since, view_rows};
use crate::numbers::Epoch;
use anyhow::Context;
use millrace_connectors::sink::Message;
use millrace_connectors::store::Store;
use millrace_dataflows::rows::{Key, Measures, State, Sums, sort_by_key};
use millrace_dataflows::views::{View, view};
use millrace_schema::Names;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows that are made into messages at a time.
const BLOCK_ROWS: usize = 1_024;

pub(super) struct ViewChanges {
    name: String,
    /// As the topic has it.
    base: Option<Base>,
    prepared: Option<(Base, Delta)>,
}

/// The rows of a view at a checkpoint.
struct Base {
    at: Cursor,
    shape: Arc<Shape>,
    state: State,
    /// Currencies, by their codes, whose money is not shown.
    untrusted: BTreeSet<u64>,
}

/// What the rows of a view mean.
struct Shape {
    view: Box<dyn View>,
    names: Names,
}

/// What is told.
enum Delta {
    /// All rows.
    All,
    /// Of groups that mean the same before and after.
    Groups(Vec<Change>),
    /// By the texts of the key, where the columns are others, or money is not shown any more.
    Texts(Texts),
}

/// By the key: the row before and after.
type Texts = BTreeMap<String, (Option<String>, Option<String>)>;

struct Change {
    key: Key,
    before: Option<Measures>,
    after: Option<Measures>,
}

impl Shape {
    fn of(at: &At, entry: &ViewEntry) -> anyhow::Result<Shape> {
        let context = at.manifest.settings.validate()?.views;
        let view = view(&entry.name, &context).with_context(|| format!("there is no view {}", entry.name))?;
        Ok(Shape { view, names: Names::default() })
    }

    /// Whether a key is the same group, and has the same columns.
    fn is_like(&self, other: &Shape) -> bool {
        self.view.version() == other.view.version() && self.view.schema() == other.view.schema()
    }
}

impl Base {
    fn load(store: &dyn Store, at: &At, entry: &ViewEntry, shape: Arc<Shape>) -> anyhow::Result<Base> {
        let state = rows_of(store, entry, &*shape.view, &shape.names)?.into_iter().collect();
        Ok(Base::new(Cursor::of(&at.manifest), shape, state))
    }

    fn new(at: Cursor, shape: Arc<Shape>, state: State) -> Base {
        let untrusted = shape.view.untrusted(&state);
        Base { at, shape, state, untrusted }
    }

    fn render(&self, rows: &[(Key, Sums<'_>)]) -> Vec<Rendered> {
        render(&*self.shape.view, rows, &self.untrusted, &self.shape.names)
    }

    /// All rows as texts, a block at a time.
    fn each_block(&self, mut each: impl FnMut(Vec<Rendered>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut rows = self.state.iter().map(|(key, sums)| (*key, sums)).peekable();
        while rows.peek().is_some() {
            let block: Vec<_> = rows.by_ref().take(BLOCK_ROWS).collect();
            each(self.render(&block))?;
        }
        Ok(())
    }
}

fn entry_of<'a>(at: &'a At, name: &str) -> Option<&'a ViewEntry> {
    at.manifest.views.iter().find(|entry| entry.name == name)
}

impl ViewChanges {
    pub(super) fn new(name: &str) -> ViewChanges {
        ViewChanges { name: name.to_owned(), base: None, prepared: None }
    }

    /// The rows at the frontier; why there are none.
    fn base(&mut self, store: &dyn Store, from: &At) -> anyhow::Result<Result<Base, String>> {
        if let Some(base) = self.base.take().filter(|base| base.at == Cursor::of(&from.manifest)) {
            return Ok(Ok(base));
        }
        let load = || {
            let entry = entry_of(from, &self.name).context("the checkpoint has no such view")?;
            Base::load(store, from, entry, Arc::new(Shape::of(from, entry)?))
        };
        match load() {
            Ok(base) => Ok(Ok(base)),
            Err(error) if is_lost(&error) => Ok(Err(format!("{error:#}"))),
            Err(error) => Err(error),
        }
    }

    /// The rows of the other checkpoint, and what leads there.
    fn step(
        &self,
        store: &dyn Store,
        base: Base,
        from: &At,
        to: &At,
        entry: &ViewEntry,
    ) -> anyhow::Result<(Base, Delta)> {
        let shape = Shape::of(to, entry)?;
        let is_like = base.shape.is_like(&shape);
        let at = Cursor::of(&to.manifest);
        let mut base = base;
        if let Since::Changes(files) = since(entry, Some(base.at), &to.manifest, &to.files)
            && is_like
        {
            let shape = base.shape.clone();
            let touched = apply(store, &mut base.state, &shape, &files)?;
            let untrusted = base.untrusted;
            let next = Base::new(at, shape.clone(), base.state);
            if next.untrusted == untrusted && next.state.len() as u64 == entry.rows {
                let delta = Delta::Groups(net(touched, &next.state));
                return Ok((next, delta));
            }
            // Rows that nothing was added to look otherwise now; or the log does not lead there, which must never be.
            let entry = entry_of(from, &self.name).context("the checkpoint has no such view")?;
            base = Base::load(store, from, entry, shape)?;
        }
        // Texts of names that stand for the same are there already.
        let shape = if is_like { base.shape.clone() } else { Arc::new(shape) };
        let next = Base::load(store, to, entry, shape)?;
        let delta = match is_like && next.untrusted == base.untrusted {
            true => Delta::Groups(differing(&base.state, &next.state)),
            false => Delta::Texts(differing_texts(&base, &next)?),
        };
        Ok((next, delta))
    }
}

/// Adds what changed; tells what the rows that it touches were before.
fn apply(
    store: &dyn Store,
    state: &mut State,
    shape: &Shape,
    files: &[&FileEntry],
) -> anyhow::Result<FxHashMap<Key, Option<Measures>>> {
    let mut touched: FxHashMap<Key, Option<Measures>> = FxHashMap::default();
    for file in files {
        for (key, measures) in view_rows::read(&file.key, checked(store, file)?, &*shape.view, &shape.names)? {
            touched.entry(key).or_insert_with(|| state.get(&key).map(Sums::to_measures));
            state.merge(&key, measures.sums());
        }
    }
    Ok(touched)
}

/// Of the rows that were touched those that are others now, in order of their keys.
fn net(touched: FxHashMap<Key, Option<Measures>>, now: &State) -> Vec<Change> {
    let change = |(key, before): (Key, Option<Measures>)| {
        let after = now.get(&key).map(Sums::to_measures);
        (before != after).then_some(Change { key, before, after })
    };
    let mut changes: Vec<Change> = touched.into_iter().filter_map(change).collect();
    sort_by_key(&mut changes, |change| &change.key);
    changes
}

fn differing(before: &State, after: &State) -> Vec<Change> {
    let touched = before.iter().map(|(key, sums)| (*key, Some(sums.to_measures())));
    let new = after.iter().filter(|(key, _)| before.get(key).is_none()).map(|(key, _)| (*key, None));
    net(touched.chain(new).collect(), after)
}

fn differing_texts(before: &Base, after: &Base) -> anyhow::Result<Texts> {
    let mut texts: Texts = Texts::new();
    before.each_block(|block| {
        block.into_iter().for_each(|Rendered { key, row }| texts.entry(key).or_default().0 = Some(row));
        Ok(())
    })?;
    after.each_block(|block| {
        block.into_iter().for_each(|Rendered { key, row }| texts.entry(key).or_default().1 = Some(row));
        Ok(())
    })?;
    texts.retain(|_, (before, after)| before != after);
    Ok(texts)
}

impl Content for ViewChanges {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&mut self, store: &dyn Store, from: Option<&At>, to: &At) -> anyhow::Result<Option<Prepared>> {
        self.prepared = None;
        let Some(entry) = entry_of(to, &self.name) else { return Ok(None) };
        // A view that this program has in another version is made anew before the engine goes on.
        check_version(entry, &*Shape::of(to, entry)?.view)?;
        let base = match from {
            None => Err("it is new, or what it has is not known".to_owned()),
            Some(from) => self.base(store, from)?.map(|base| (base, from)),
        };
        let (next, delta, anew) = match base {
            Ok((base, from)) => {
                let (next, delta) = self.step(store, base, from, to, entry)?;
                (next, delta, None)
            }
            Err(why) => {
                let next = Base::load(store, to, entry, Arc::new(Shape::of(to, entry)?))?;
                (next, Delta::All, Some(why))
            }
        };
        let prepared = Prepared { version: entry.version, definition: entry.definition.clone(), anew };
        self.prepared = Some((next, delta));
        Ok(Some(prepared))
    }

    fn send(&mut self, _store: &dyn Store, to: &At, out: &mut dyn Out) -> anyhow::Result<()> {
        let (next, delta) = self.prepared.as_ref().expect("what is sent was prepared");
        let epoch = to.manifest.epoch;
        match delta {
            Delta::All => next.each_block(|block| {
                block.iter().try_for_each(|row| send_change(out, &row.key, (None, Some(&row.row)), epoch))
            }),
            Delta::Groups(changes) => {
                changes.chunks(BLOCK_ROWS).try_for_each(|block| send_groups(out, next, block, epoch))
            }
            Delta::Texts(texts) => texts.iter().try_for_each(|(key, (before, after))| {
                send_change(out, key, (before.as_deref(), after.as_deref()), epoch)
            }),
        }
    }

    fn has_sent(&mut self) {
        self.base = self.prepared.take().map(|(next, _)| next);
    }

    fn forget(&mut self) {
        (self.base, self.prepared) = (None, None);
    }
}

fn send_groups(out: &mut dyn Out, next: &Base, changes: &[Change], epoch: Epoch) -> anyhow::Result<()> {
    let rendered = |of: fn(&Change) -> Option<&Measures>| {
        let rows: Vec<_> = changes.iter().filter_map(|change| Some((change.key, of(change)?.sums()))).collect();
        next.render(&rows).into_iter()
    };
    let (mut befores, mut afters) =
        (rendered(|change| change.before.as_ref()), rendered(|change| change.after.as_ref()));
    for change in changes {
        let before = change.before.as_ref().and_then(|_| befores.next());
        let after = change.after.as_ref().and_then(|_| afters.next());
        let key = before.as_ref().or(after.as_ref()).map(|rendered| rendered.key.clone());
        let key = key.expect("a change has a row before or after");
        send_change(out, &key, (before.as_ref().map(|row| &*row.row), after.as_ref().map(|row| &*row.row)), epoch)?;
    }
    Ok(())
}

fn send_change(
    out: &mut dyn Out,
    key: &str,
    (before, after): (Option<&str>, Option<&str>),
    epoch: Epoch,
) -> anyhow::Result<()> {
    let (before, after) = (before.unwrap_or("null"), after.unwrap_or("null"));
    let value = format!("{{\"before\":{before},\"after\":{after},\"epoch\":{epoch}}}");
    let (key, value) = (key.as_bytes(), value.as_bytes());
    let message = Message { partition: out.partition_of(key), key: Some(key), value, headers: &[] };
    Ok(out.message(&message)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Generation;
    use crate::settings::Settings;
    use millrace_dataflows::views::Part;
    use millrace_schema::Currency;
    use serde_json::Value;

    fn base(rows: &[(Key, Measures)]) -> Base {
        let context = Settings::default().validate().expect("the defaults are good").views;
        let view = view("sales", &context).expect("it is in the list");
        let at = Cursor { generation: Generation(1), manifest: 1, epoch: Epoch(1) };
        Base::new(at, Arc::new(Shape { view, names: Names::default() }), rows.iter().cloned().collect())
    }

    /// A row of a table, with one measure.
    fn row(table: &str, currency: &str, measure: (&str, i64)) -> (Key, Measures) {
        let shape = base(&[]).shape;
        let schema = shape.view.schema();
        let at = schema.tables.iter().position(|known| known.name == table).expect("a table of sales");
        let mut key = Key { table: at as u8, parts: [0; 5] };
        let part = schema.tables[at].parts.iter().position(|part| *part == Part::Currency).expect("it has money");
        key.parts[part] = Currency::parse(currency).expect("a currency").code();
        let mut measures = Measures::default();
        measures.add(schema.measures.iter().position(|known| known.name == measure.0).expect("a measure"), measure.1);
        (key, measures)
    }

    struct Told(Vec<(String, Value)>);

    impl Out for Told {
        fn message(&mut self, message: &Message<'_>) -> Result<(), millrace_connectors::sink::SinkError> {
            let key = String::from_utf8(message.key.expect("a change has a key").to_vec()).expect("text");
            self.0.push((key, serde_json::from_slice(message.value).expect("JSON")));
            Ok(())
        }

        fn partition_of(&self, _key: &[u8]) -> u32 {
            0
        }
    }

    #[test]
    fn what_is_told_is_what_differs() {
        let [same, gone, new] = ["EUR", "USD", "JPY"].map(|currency| row("cell", currency, ("gross_sales", 700)));
        let (changed, now) = (row("day", "EUR", ("gross_sales", 1)), row("day", "EUR", ("gross_sales", 2)));
        let (before, after) = (base(&[same.clone(), gone.clone(), changed]), base(&[same, new.clone(), now]));
        let changes = differing(&before.state, &after.state);
        let mut told = Told(Vec::new());
        send_groups(&mut told, &after, &changes, Epoch(9)).expect("it is taken");
        assert_eq!(told.0.len(), 3, "{:?}", told.0);
        for (key, value) in &told.0 {
            let key: Value = serde_json::from_str(key).expect("JSON");
            let sales = |row: &str| value[row].get("gross_sales").cloned();
            let number = |text: &str| serde_json::from_str(text).ok();
            assert_eq!(value["epoch"], 9);
            let expected = match (key["grain"].as_str(), key["currency"].as_str()) {
                (Some("cell"), Some("USD")) => (number("7.00"), None),
                (Some("cell"), Some("JPY")) => (None, number("700")),
                (Some("day"), Some("EUR")) => (number("0.01"), number("0.02")),
                other => panic!("{other:?} does not differ"),
            };
            assert_eq!((sales("before"), sales("after")), expected, "{key}");
        }
    }

    #[test]
    fn what_goes_back_to_what_it_was_is_not_told() {
        let (key, measures) = row("cell", "EUR", ("gross_sales", 700));
        let state: State = [(key, measures.clone())].into_iter().collect();
        assert!(net(FxHashMap::from_iter([(key, Some(measures))]), &state).is_empty());
        assert_eq!(net(FxHashMap::from_iter([(key, None)]), &state).len(), 1);
    }

    /// Where the sums of a currency may not fit any more all its rows look otherwise, also those that nothing was added to.
    #[test]
    fn money_that_is_not_shown_any_more_is_a_change() {
        let rows = ["EUR", "JPY"].map(|currency| row("cell", currency, ("gross_sales", 700)));
        let magnitude = |most: i64| row("magnitude", "JPY", ("magnitude", most));
        let (before, after) =
            (base(&[&rows[..], &[magnitude(1)]].concat()), base(&[&rows[..], &[magnitude(1 << 60)]].concat()));
        assert!(before.untrusted.is_empty() && after.untrusted.len() == 1);
        let texts = differing_texts(&before, &after).expect("it is rendered");
        let told: Vec<_> = texts.iter().filter(|(key, _)| key.contains("\"cell\"")).collect();
        let [(key, (Some(before), Some(after)))] = &told[..] else { panic!("{texts:?}") };
        assert!(
            key.contains("JPY") && before.contains("\"gross_sales\":700,") && after.contains("\"gross_sales\":null,")
        );
        assert_eq!(texts.len(), 2, "and the magnitude itself: {texts:?}");
    }
}
