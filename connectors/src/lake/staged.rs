//! Accepted events on their way to the lake, column by column.
//!
//! Filled on the thread that decodes, where every nanosecond counts: a push copies bytes to the end of buffers, and a
//! column that a record does not have costs one comparison, for it is padded only when its next value comes.

use super::event_schema::{MONEY_SCALE, NUMBERS, Number, TEXTS, Text};
use millrace_schema::calendar::Calendar;
use millrace_schema::{Cents, Currency, Kind, Record};

/// An absent number. Validation keeps real ones far from it.
pub(crate) const NONE: i64 = i64::MIN;

/// Builds one batch of events. Take it with [`EventColumns::finish`] every some ten thousand rows.
#[derive(Debug)]
pub struct EventColumns {
    calendar: Calendar,
    last_second: (i64, i32),
    staged: StagedEvents,
}

/// A batch of events, ready for an [`super::EventWriter`].
#[derive(Debug, Default)]
pub struct StagedEvents {
    pub(crate) rows: usize,
    pub(crate) kinds: Vec<u8>,
    pub(crate) times: Vec<i64>,
    /// The day of each row's event time in the store's calendar.
    pub(crate) days: Vec<i32>,
    pub(crate) partitions: Vec<u16>,
    pub(crate) offsets: Vec<i64>,
    pub(crate) epochs: Vec<i64>,
    pub(crate) texts: [Texts; TEXTS],
    pub(crate) numbers: [Numbers; NUMBERS],
    /// The rows that go to the lake; all where it is `None`.
    pub(crate) keep: Option<Vec<bool>>,
}

/// Texts end to end; an empty one is absent. Rows past the last end are absent.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub bytes: Vec<u8>,
    pub ends: Vec<u32>,
}

/// [`NONE`] is absent, and so are rows past the last value.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub values: Vec<i64>,
}

impl Texts {
    /// Empty where it is absent.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..end as usize]
    }

    fn set(&mut self, row: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        let end = |bytes: &Vec<u8>| u32::try_from(bytes.len()).expect("a batch is finished long before 4 GiB");
        if self.ends.len() < row {
            self.ends.resize(row, end(&self.bytes));
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(end(&self.bytes));
    }
}

impl Numbers {
    fn set(&mut self, row: usize, value: i64) {
        if self.values.len() < row {
            self.values.resize(row, NONE);
        }
        self.values.push(value);
    }
}

impl EventColumns {
    /// `calendar` decides which day an event belongs to.
    pub fn new(calendar: Calendar) -> EventColumns {
        let last_second = (0, calendar.day(0) as i32);
        EventColumns { calendar, last_second, staged: StagedEvents::default() }
    }

    pub fn len(&self) -> usize {
        self.staged.rows
    }

    pub fn is_empty(&self) -> bool {
        self.staged.rows == 0
    }

    /// About the memory it holds.
    pub fn bytes(&self) -> usize {
        self.staged.bytes()
    }

    /// Appends a record that was read at `offset` of `partition` (an index into the engine's table) in `epoch`.
    pub fn push(&mut self, record: &Record<'_>, offset: u64, partition: u16, epoch: u64) {
        let day = self.day(record.time);
        let staged = &mut self.staged;
        let row = staged.rows;
        staged.rows += 1;
        staged.kinds.push(record.kind as u8);
        staged.times.push(record.time);
        staged.days.push(day);
        staged.partitions.push(partition);
        staged.offsets.push(offset as i64);
        staged.epochs.push(epoch as i64);
        let mut text = |column: Text, text: &str| staged.texts[column as usize].set(row, text);
        text(Text::EventId, record.event_id);
        text(Text::SessionId, record.session_id);
        text(Text::UserId, record.user_id);
        text(Text::ProductId, record.product_id);
        text(Text::OrderId, record.order_id);
        text(Text::Extra, record.extra);
        let mut number = |column: Number, value: i64| staged.numbers[column as usize].set(row, value);
        if let Some(received_at) = record.received_at {
            number(Number::ReceivedAt, received_at);
        }
        let mut money = |column: Number, cents: Option<Cents>| {
            if let Some(scaled) = cents.and_then(|cents| scaled(cents, record.currency)) {
                number(column, scaled);
            }
        };
        match record.kind {
            Kind::PageView => {
                number(Number::Page, record.page as i64);
                text(Text::Referrer, record.referrer);
                text(Text::Device, record.device);
            }
            Kind::AddToCart | Kind::RemoveFromCart => {
                money(Number::UnitPrice, record.unit_price);
                number(Number::Quantity, i64::from(record.quantity));
            }
            Kind::CheckoutStarted => {}
            Kind::Purchase | Kind::Refund => {
                let amount = if record.kind == Kind::Purchase { Number::PricePaid } else { Number::Amount };
                money(amount, Some(record.amount));
                money(Number::UnitPrice, record.unit_price);
                number(Number::Quantity, i64::from(record.quantity));
                number(Number::Currency, record.currency.code() as i64);
                text(Text::DiscountCode, record.discount_code);
                text(Text::Reason, record.reason);
            }
            Kind::Product | Kind::User | Kind::Inventory => self.push_dimension(row, record),
        }
    }

    fn push_dimension(&mut self, row: usize, record: &Record<'_>) {
        let StagedEvents { texts, numbers, .. } = &mut self.staged;
        let mut number = |column: Number, value: Option<i64>| {
            if let Some(value) = value {
                numbers[column as usize].set(row, value);
            }
        };
        // A stock cannot be deleted: there the field is unknown, and in `extra`.
        number(Number::Deleted, (record.kind != Kind::Inventory).then_some(i64::from(record.deleted)));
        number(Number::Price, record.price.and_then(|cents| scaled(cents, record.currency)));
        number(Number::Cost, record.cost.and_then(|cents| scaled(cents, record.currency)));
        number(Number::SignupTime, record.signup_time);
        if record.kind == Kind::Inventory {
            number(Number::OnHand, Some(record.on_hand));
            number(Number::Reserved, record.reserved);
            number(Number::LeadTimeDays, record.lead_time_days);
        }
        texts[Text::Name as usize].set(row, record.name);
        texts[Text::Category as usize].set(row, record.category);
        texts[Text::Brand as usize].set(row, record.brand);
        texts[Text::Country as usize].set(row, record.country);
        texts[Text::Channel as usize].set(row, record.channel);
    }

    /// Takes the batch; the builder is empty after it. `keep`, if given, says for each row whether it goes to the lake
    /// (false for what turned out to be a duplicate).
    ///
    /// # Panics
    /// Where `keep` is of another length than the batch.
    pub fn finish(&mut self, keep: Option<Vec<bool>>) -> StagedEvents {
        let mut staged = std::mem::take(&mut self.staged);
        assert!(keep.as_ref().is_none_or(|keep| keep.len() == staged.rows), "one flag for each row of the batch");
        staged.keep = keep;
        // The next batch will look much like this one.
        self.staged.reserve_like(&staged);
        if staged.rows < staged.times.capacity() / 2 {
            // It was not like the one before. It may wait for long until it is written.
            staged.shrink();
        }
        staged
    }

    fn day(&mut self, time: i64) -> i32 {
        let second = time.div_euclid(1_000_000);
        if second != self.last_second.0 {
            self.last_second = (second, self.calendar.day(time) as i32);
        }
        self.last_second.1
    }
}

/// Minor units in thousandths of the unit. `None` past 64 bits, nine times what validation accepts.
fn scaled(cents: Cents, currency: Currency) -> Option<i64> {
    cents.checked_mul(10_i64.pow(MONEY_SCALE.saturating_sub(currency.digits())))
}

impl StagedEvents {
    /// Says for each row whether it goes to the lake, once that is known.
    ///
    /// # Panics
    /// Where `keep` is of another length than the batch.
    pub fn keep_only(&mut self, keep: Vec<bool>) {
        assert!(keep.len() == self.rows, "one flag for each row of the batch");
        self.keep = Some(keep);
    }

    /// Rows, with those that are not kept.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About the memory it holds.
    pub fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|texts| texts.bytes.len() + 4 * texts.ends.len()).sum();
        let numbers: usize = self.numbers.iter().map(|numbers| 8 * numbers.values.len()).sum();
        // kind, time, day, partition, offset, epoch, keep
        size_of::<StagedEvents>() + self.rows * (1 + 8 + 4 + 2 + 8 + 8 + 1) + texts + numbers
    }

    fn shrink(&mut self) {
        self.kinds.shrink_to_fit();
        self.times.shrink_to_fit();
        self.days.shrink_to_fit();
        self.partitions.shrink_to_fit();
        self.offsets.shrink_to_fit();
        self.epochs.shrink_to_fit();
        for texts in &mut self.texts {
            texts.bytes.shrink_to_fit();
            texts.ends.shrink_to_fit();
        }
        self.numbers.iter_mut().for_each(|numbers| numbers.values.shrink_to_fit());
    }

    fn reserve_like(&mut self, other: &StagedEvents) {
        self.kinds.reserve(other.rows);
        self.times.reserve(other.rows);
        self.days.reserve(other.rows);
        self.partitions.reserve(other.rows);
        self.offsets.reserve(other.rows);
        self.epochs.reserve(other.rows);
        for (texts, other) in self.texts.iter_mut().zip(&other.texts) {
            texts.bytes.reserve(other.bytes.len() + other.bytes.len() / 8);
            texts.ends.reserve(other.ends.len());
        }
        for (numbers, other) in self.numbers.iter_mut().zip(&other.numbers) {
            numbers.values.reserve(other.values.len());
        }
    }
}
