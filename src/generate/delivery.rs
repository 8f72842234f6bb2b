//! What becomes of an event between the shop and the log: some come late, twice, in conflict or broken.
//!
//! A sound line gives rise to one other at most, which is held back and released by the agenda. What is held counts as
//! *committed*: with it, the number of events comes out exactly, and every copy follows what it is a copy of.

use super::agenda::{Agenda, Task};
use super::event::Event;
use super::faults::{self, Fault};
use super::line::LineWriter;
use super::options::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, Options};
use super::random::{Random, mix};
use super::slab::Slab;
use super::tally::Tally;
use super::{Class, LineInfo};

/// From the customer to the log, where lines say when they were received.
const TRANSPORT_MICROS: i64 = 150_000;
const LATENESS_MIN: f64 = 30.0 * MICROS_PER_SECOND as f64;
/// How long after a line its copy or conflict comes.
const COPY_DELAY: (f64, f64) = (0.5 * MICROS_PER_SECOND as f64, MICROS_PER_HOUR as f64);
const REORDERED_FRACTION: f64 = 0.25;

#[derive(Clone, Debug)]
pub struct Delivery {
    events: u64,
    /// Of a sound event, one after the other: to come late; to have a copy, a copy or a conflict, or any follower.
    late_chance: f64,
    duplicate_below: f64,
    conflict_below: f64,
    malformed_below: f64,
    lateness_max: f64,

    random: Random,
    ids_from: u64,
    ids: u64,
    held: Slab<Held>,
    scratch: Vec<u8>,
    pub writer: LineWriter,
    pub tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    event: Event,
    class: Class,
}

impl Delivery {
    pub fn new(options: &Options, writer: LineWriter, random: Random) -> Delivery {
        let of_sound = |fraction: f64| fraction / (1.0 - options.spoiled_fraction());
        let lateness_max = i64::from(options.lateness_hours_max) * MICROS_PER_HOUR;
        Delivery {
            events: options.events,
            late_chance: of_sound(options.late_fraction),
            duplicate_below: of_sound(options.duplicate_fraction),
            conflict_below: of_sound(options.duplicate_fraction + options.conflict_fraction),
            malformed_below: of_sound(options.spoiled_fraction()),
            lateness_max: lateness_max.min(options.period_micros() / 2) as f64,
            random,
            ids_from: mix(!options.seed),
            ids: 0,
            held: Slab::new(),
            scratch: Vec::new(),
            writer,
            tally: Tally::default(),
        }
    }

    /// All events are written.
    pub fn is_done(&self) -> bool {
        self.tally.events() == self.events
    }

    /// What is held back makes up the number: nothing new may happen.
    pub fn is_full(&self) -> bool {
        self.committed() == self.events
    }

    fn committed(&self) -> u64 {
        self.tally.events() + self.held.len() as u64
    }

    /// Writes an event that happens now and gives it an id, or holds it back.
    pub fn happen(&mut self, event: Event, agenda: &mut Agenda, out: &mut Vec<u8>) -> Option<LineInfo> {
        let (event, now) = (Event { id: self.next_id(), ..event }, event.time);
        if self.random.chance(self.late_chance) {
            let lateness = self.random.log_uniform(LATENESS_MIN, self.lateness_max) as i64;
            self.hold(event, Class::Late, now + lateness, agenda);
            return None;
        }
        Some(self.write_sound(&event, Class::Fresh, now, agenda, out))
    }

    /// Writes what was held back until now.
    pub fn release(&mut self, place: u32, now: i64, agenda: &mut Agenda, out: &mut Vec<u8>) -> LineInfo {
        let Held { event, class } = self.held.remove(place);
        if class == Class::Late {
            return self.write_sound(&event, class, now, agenda, out);
        }
        self.scratch.clear();
        self.writer.event(&event, now + TRANSPORT_MICROS, &mut self.scratch);
        self.scratch.pop();
        match class {
            Class::Malformed(fault) => fault.spoil(&mut self.scratch, &mut self.random),
            Class::Duplicate if self.random.chance(REORDERED_FRACTION) => {
                faults::reorder_keys(&mut self.scratch, &mut self.random);
            }
            _ => {}
        }
        out.extend_from_slice(&self.scratch);
        out.push(b'\n');
        event_info(&event, class, now)
    }

    fn write_sound(
        &mut self,
        event: &Event,
        class: Class,
        now: i64,
        agenda: &mut Agenda,
        out: &mut Vec<u8>,
    ) -> LineInfo {
        self.tally.count_sound(event);
        self.writer.event(event, now + TRANSPORT_MICROS, out);
        // This line is not counted yet, but it is as good as written.
        if self.committed() + 1 < self.events {
            self.follow(event, now, agenda);
        }
        event_info(event, class, now)
    }

    /// Decides whether a sound line has a copy, a conflict or a malformed one after it.
    fn follow(&mut self, event: &Event, now: i64, agenda: &mut Agenda) {
        let draw = self.random.unit();
        if draw >= self.malformed_below {
            return;
        }
        if draw >= self.conflict_below {
            let fault = self.random.pick(&Fault::ALL);
            let time = now + self.random.between(1, MICROS_PER_MINUTE);
            let event = fault.prepared(Event { id: self.next_id(), time, ..*event });
            self.hold(event, Class::Malformed(fault), time, agenda);
            return;
        }
        let due = now + self.random.log_uniform(COPY_DELAY.0, COPY_DELAY.1) as i64;
        if draw < self.duplicate_below {
            self.hold(*event, Class::Duplicate, due, agenda);
        } else {
            let event = faults::conflicting(*event, &mut self.random);
            self.hold(event, Class::Conflict, due, agenda);
        }
    }

    fn hold(&mut self, event: Event, class: Class, until: i64, agenda: &mut Agenda) {
        let place = self.held.insert(Held { event, class });
        agenda.add(until, Task::Release(place));
    }

    /// Distinct within a seed, and in all likelihood between two.
    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        mix(self.ids_from.wrapping_add(self.ids))
    }
}

fn event_info(event: &Event, class: Class, arrival: i64) -> LineInfo {
    LineInfo { time: event.time, arrival, partition_key: event.session, dimension: false, class }
}
