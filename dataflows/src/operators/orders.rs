//! Orders: one state an order, and what each touched order changes at the close of an epoch.
//!
//! ```text
//! purchases, refunds ──by order──▶ [orders] ──▶ cells of the sales · lines · who ordered · products bought together · warnings
//! category histories (on every worker) ─┘
//! ```
//!
//! An order's state is its lines. Its part in the sales is a function of the lines and of their products' histories
//! (see [`crate::views::sales`]): an order that gets a line, or has a product whose history changes, takes back what
//! it contributed and contributes anew. Of an order of many lines only what changes is counted anew: `orders/large.rs`.

mod customers;
mod large;
#[cfg(test)]
mod tests;
mod warnings;

use crate::context::{Buckets, Keeps, Shared};
use crate::facts::{Account, CustomerOrder, FactChange, LineKind, OrderLine, Tally, Uses};
use crate::operators::categories::{History, HistoryChange};
use crate::operators::dictionary::{Dictionary, Texts};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::local::LocalNames;
use crate::operators::order_lines::{Chain, OrderLines};
use crate::operators::pairs::{PairChange, PairChanges, RelatedKind};
use crate::operators::scatter::scatter;
use crate::operators::tables::{IdHead, IdTable};
use crate::operators::touched::{TouchedSet, emit_difference};
use crate::rows::{Change, Netting};
use crate::views::sales::large::categories;
use crate::views::sales::{Contributor, Line};
use customers::Customers;
use large::{LARGE, Large, Restated};
use millrace_schema::{Body, Event, Id, Warning};
use rustc_hash::FxHashMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

#[derive(Clone, Copy, Debug, Default)]
struct Order {
    last: Chain,
    dirty: bool,
    /// It has a [`Large`].
    large: bool,
}

/// The products that lines buy, and when.
fn touches(lines: &[Line]) -> impl Iterator<Item = (u32, i64)> {
    lines.iter().filter(|line| line.kind != LineKind::Refunded).map(|line| (line.product, line.time))
}

struct Orders {
    shared: Shared,
    uses: Uses,
    locals: LocalNames,
    /// By local product number; `None` without a record.
    histories: Vec<Option<History>>,
    /// The lines of each product, by local number.
    of_products: Vec<Chain>,
    numbers: IdTable,
    orders: Vec<Order>,
    lines: OrderLines,
    /// Of orders that have ever had more lines than products are counted together, and of large ones.
    touched: FxHashMap<u32, TouchedSet>,
    large: FxHashMap<u32, Large>,
    /// The orders that the epoch at work touches, and how many lines each had before.
    dirty: Vec<(u32, usize)>,
    /// Reused: the lines of the order at hand.
    at_hand: Vec<Line>,
    /// Refunds of products that no record names: purchases are counted with their sessions.
    unknown: FxHashMap<u32, FxHashMap<(i64, u16), i64>>,
    buckets: Buckets,
    contributor: Contributor,
    out: Outputs,
}

struct Outputs {
    cells: Netting,
    lines: Vec<OrderLine>,
    orders: Tally<CustomerOrder>,
    pairs: PairChanges,
    accounts: Tally<Account>,
}

impl Orders {
    fn new(shared: Shared, texts: Texts, uses: Uses, peers: usize) -> Orders {
        Orders {
            locals: LocalNames::new(texts),
            histories: vec![None],
            of_products: vec![Chain::default()],
            numbers: IdTable::default(),
            orders: Vec::new(),
            lines: OrderLines::default(),
            touched: FxHashMap::default(),
            large: FxHashMap::default(),
            dirty: Vec::new(),
            at_hand: Vec::new(),
            unknown: FxHashMap::default(),
            buckets: Buckets::new(shared.context.calendar.clone()),
            contributor: Contributor::new(&shared, uses.cells),
            out: Outputs {
                cells: Netting::default(),
                lines: Vec::new(),
                orders: Tally::default(),
                pairs: PairChanges::new(peers),
                accounts: Tally::default(),
            },
            uses,
            shared,
        }
    }

    fn product(&mut self, name: millrace_schema::Name) -> u32 {
        let product = self.locals.number(name);
        if self.histories.len() <= product as usize {
            self.histories.resize(product as usize + 1, None);
            self.of_products.resize(product as usize + 1, Chain::default());
        }
        product
    }

    /// Handles one epoch: takes back what the touched orders contributed, changes them, contributes anew.
    fn epoch(&mut self, changes: Vec<HistoryChange>, batches: Vec<Vec<Event>>) {
        let changes: Vec<(u32, HistoryChange)> =
            changes.into_iter().map(|change| (self.product(change.product), change)).collect();
        let mut restated = Restated::default();
        let mut products: Vec<u32> = changes.iter().map(|(product, _)| *product).collect();
        products.sort_unstable();
        products.dedup();
        for product in products {
            for (order, line) in self.lines.of_product(self.of_products[product as usize]) {
                if self.orders[order as usize].large {
                    restated.push(order, line);
                } else if !std::mem::replace(&mut self.orders[order as usize].dirty, true) {
                    self.dirty.push((order, 0));
                }
            }
        }
        for at in 0..self.dirty.len() {
            let (order, _) = self.dirty[at];
            self.lines.of_order(self.orders[order as usize].last, &mut self.at_hand);
            self.dirty[at].1 = self.at_hand.len();
            self.contribute(-1);
        }
        self.restate(&mut restated, -1);
        let mut arrived = Vec::new();
        for event in batches.iter().flatten() {
            if let Some((id, line)) = self.line(event) {
                let next = self.orders.len() as u32;
                let order = self.numbers.enter(IdHead::of(id), next, 0).unwrap_or(next);
                if order == next {
                    self.orders.push(Order::default());
                }
                self.take_back(order);
                arrived.push((order, line));
            }
        }
        for (product, change) in changes {
            self.set_known(product);
            self.histories[product as usize].get_or_insert_default().apply(&change);
        }
        self.restate(&mut restated, 1);
        for (order, line) in arrived {
            self.add(order, line);
        }
        for (order, lines_before) in std::mem::take(&mut self.dirty) {
            self.orders[order as usize].dirty = false;
            if self.orders[order as usize].large {
                self.settle_large(order);
                continue;
            }
            self.lines.of_order(self.orders[order as usize].last, &mut self.at_hand);
            let is_large = self.at_hand.len() >= LARGE;
            if self.uses.together {
                self.settle(order, lines_before, is_large);
            }
            if is_large { self.enlarge(order) } else { self.contribute(1) }
        }
    }

    /// Takes back what an order contributed, once an epoch. Of a large one nothing need be.
    fn take_back(&mut self, order: u32) {
        let state = &mut self.orders[order as usize];
        if std::mem::replace(&mut state.dirty, true) {
            return;
        }
        if state.large {
            self.dirty.push((order, 0));
            return;
        }
        self.lines.of_order(state.last, &mut self.at_hand);
        self.dirty.push((order, self.at_hand.len()));
        self.contribute(-1);
    }

    /// Counts the products of the lines at hand that came since the last time. Few lines say themselves what has been counted.
    fn settle(&mut self, number: u32, lines_before: usize, is_large: bool) {
        let (before, arrived) = self.at_hand.split_at(lines_before);
        if arrived.is_empty() && !is_large {
            return;
        }
        let (kind, cap) = (RelatedKind::BoughtTogether, self.shared.context.related.max_products_per_session);
        let out = &mut self.out.pairs;
        if self.at_hand.len() <= cap && !is_large && !self.touched.contains_key(&number) {
            let products = |lines: &[Line]| {
                let mut products: Vec<u32> = touches(lines).map(|(product, _)| product).collect();
                products.sort_unstable();
                products.dedup();
                products
            };
            emit_difference(kind, &products(before), &products(&self.at_hand), &self.locals, out);
            return;
        }
        let locals = &self.locals;
        let set = self.touched.entry(number).or_insert_with(|| TouchedSet::of(touches(before), cap, locals));
        touches(arrived).for_each(|(product, time)| set.touch(product, time, cap, locals));
        set.settle(kind, locals, out);
    }

    /// Counts the lines at hand.
    fn contribute(&mut self, sign: i64) {
        let lines = &self.at_hand;
        if lines.is_empty() {
            return;
        }
        let (histories, none, unknown) = (&self.histories, self.shared.none, self.shared.unknown);
        let of_line = |line: &Line, time: i64| categories(histories, line.product, time, none, unknown);
        self.contributor.contribute(lines, of_line, &self.locals, &mut self.buckets, sign, &mut self.out.cells);
        if self.uses.accounts {
            warnings::warn(lines, &self.shared, &mut self.buckets, sign, &mut self.out.accounts);
        }
        if self.uses.orders {
            Customers::of(lines).count(sign, &mut self.buckets, &mut self.out.orders);
        }
    }

    fn line(&mut self, event: &Event) -> Option<(Id, Line)> {
        let (order, kind, quantity, amount, list_price, currency) = match event.body {
            Body::Purchase { quantity, currency, order, price, list_price } if quantity >= 0 => {
                (order, LineKind::Sold, i64::from(quantity), price, list_price, currency)
            }
            Body::Purchase { quantity, currency, order, price, .. } => {
                (order, LineKind::Returned, -i64::from(quantity), -price, 0, currency)
            }
            Body::Refund { quantity, currency, order, amount } => {
                (order, LineKind::Refunded, i64::from(quantity), amount, 0, currency)
            }
            _ => return None,
        };
        let product = self.product(event.product);
        // A refund of the whole order brings back an amount and no units.
        let quantity = if product == 0 { 0 } else { quantity };
        let line = Line {
            kind,
            product,
            time: event.time,
            quantity,
            amount,
            list_price,
            currency,
            booked_at: event.booked_at(),
            partition: event.place.partition(),
            session: event.session.low,
            user: event.user.low,
        };
        Some((order, line))
    }

    fn add(&mut self, order: u32, line: Line) {
        self.contributor.weigh(&line, &mut self.out.cells);
        if self.uses.lines {
            let Line { kind, time, quantity, amount, currency, .. } = line;
            let product = self.locals.name(line.product);
            self.out.lines.push(OrderLine { kind, product, time, quantity, amount, currency });
        }
        if self.uses.accounts && line.kind == LineKind::Refunded && self.is_unknown(line.product) {
            let hour = self.buckets.of(line.booked_at).hour;
            *self.unknown.entry(line.product).or_default().entry((hour, line.partition)).or_default() += 1;
            let source = self.shared.partitions.source(line.partition);
            self.out.accounts.add(Account::warned(hour, source, Warning::UnknownProduct), 1);
        }
        let state = &mut self.orders[order as usize];
        self.lines.push(&line, order, &mut state.last, &mut self.of_products[line.product as usize]);
        if state.large {
            self.add_to_large(order, &line);
        }
    }

    fn is_unknown(&self, product: u32) -> bool {
        product != 0 && self.histories[product as usize].is_none()
    }

    fn set_known(&mut self, product: u32) {
        for ((hour, partition), count) in self.unknown.remove(&product).into_iter().flatten() {
            self.out
                .accounts
                .add(Account::warned(hour, self.shared.partitions.source(partition), Warning::UnknownProduct), -count);
        }
    }
}

/// The streams that leave the operator.
pub struct OrderStreams<'s> {
    pub cells: StreamVec<'s, u64, Change>,
    pub lines: StreamVec<'s, u64, FactChange<OrderLine>>,
    pub orders: StreamVec<'s, u64, FactChange<CustomerOrder>>,
    pub pairs: StreamVec<'s, u64, PairChange>,
    pub accounts: StreamVec<'s, u64, FactChange<Account>>,
}

/// Builds the operator.
pub fn orders<'s>(
    events: StreamVec<'s, u64, Event>,
    histories: StreamVec<'s, u64, HistoryChange>,
    dictionary: &Dictionary<'s>,
    shared: &Shared,
    uses: Uses,
) -> OrderStreams<'s> {
    let peers = events.scope().peers();
    let mut builder = OperatorBuilder::new("Orders".to_owned(), events.scope());
    let route = |event: &Event| match event.body {
        Body::Purchase { order, .. } | Body::Refund { order, .. } => order.low,
        _ => 0,
    };
    let mut events = builder.new_input(events, scatter(route));
    let texts = dictionary.texts(&mut builder);
    let mut histories = builder.new_input(histories, Pipeline);
    let (cell_output, cells) = builder.new_output();
    let (line_output, lines) = builder.new_output();
    let (order_output, orders) = builder.new_output();
    let (pair_output, pairs) = builder.new_output();
    let (account_output, accounts) = builder.new_output();
    type Builder<D> = CapacityContainerBuilder<Vec<D>>;
    let mut cell_output = OutputBuilder::<_, Builder<Change>>::from(cell_output);
    let mut line_output = OutputBuilder::<_, Builder<FactChange<OrderLine>>>::from(line_output);
    let mut order_output = OutputBuilder::<_, Builder<FactChange<CustomerOrder>>>::from(order_output);
    let mut pair_output = OutputBuilder::<_, Builder<PairChange>>::from(pair_output);
    let mut account_output = OutputBuilder::<_, Builder<FactChange<Account>>>::from(account_output);
    let mut state = Orders::new(shared.clone(), texts, uses, peers);

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut waiting, mut waiting_histories) = (Stash::default(), Stash::default());
        let (counts, mut counted) = (state.shared.held.clone(), 0);
        move |frontiers| {
            waiting.fill(&mut events);
            waiting_histories.fill(&mut histories);
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([waiting.first(), waiting_histories.first()], open) {
                let held = capabilities.at(epoch);
                let changes = waiting_histories.take(epoch).into_iter().flatten().collect();
                state.epoch(changes, waiting.take(epoch));
                counts.set(Keeps::Orders, &mut counted, state.orders.len());
                let out = &mut state.out;
                let lines = out.lines.drain(..).map(|line| (line, epoch, 1));
                cell_output.activate().session(&held[0]).give_iterator(out.cells.drain(epoch));
                line_output.activate().session(&held[1]).give_iterator(lines);
                order_output.activate().session(&held[2]).give_iterator(out.orders.drain(epoch));
                pair_output.activate().session(&held[3]).give_iterator(out.pairs.drain());
                account_output.activate().session(&held[4]).give_iterator(out.accounts.drain(epoch));
            }
            capabilities.release(open);
        }
    });
    OrderStreams { cells, lines, orders, pairs, accounts }
}
