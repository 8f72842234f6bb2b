//! Which sessions are forgotten, and when their ids are.

use super::Sessions;
use super::visits::visits_of;
use crate::operators::retirement::Retirement;
use crate::operators::tables::IdTable;

impl Sessions {
    /// No event before `limit` comes any more: forgets the sessions whose last event was before.
    pub(super) fn forget(&mut self, limit: i64) {
        while let Some(sessions) = self.retirement.due(limit) {
            for session in sessions {
                let last = self.ends(session).map(|(_, last)| last);
                let state = &mut self.sessions[session as usize];
                match last {
                    Some(last) if last >= limit => self.retirement.watch(session, last),
                    _ => {
                        self.events.release(&mut state.events);
                        state.contribution.take().into_iter().for_each(|settled| self.retirement.settle(settled, 1));
                        state.beside = None;
                        state.forgotten = true;
                        let head = state.head.checked_sub(1).unwrap_or(session);
                        self.retirement.in_table += usize::from(self.all_forgotten(head));
                    }
                }
            }
        }
        // Ids go when a quarter of them are of no use: some each time, and more where many sessions have begun since.
        let share = IdTable::SHARDS * std::mem::take(&mut self.retirement.begun) / self.numbers.len().max(1);
        for _ in 0..=share {
            self.retirement.sweeping |= self.retirement.in_table * 4 > self.numbers.len();
            if !self.retirement.sweeping {
                break;
            }
            let Retirement { free, in_table, sweeping, .. } = &mut self.retirement;
            let sessions = &self.sessions;
            let through = self.numbers.sweep(|session, _| {
                let keep = visits_of(sessions, session).any(|visit| !sessions[visit as usize].forgotten);
                if !keep {
                    free.extend(visits_of(sessions, session));
                    *in_table -= 1;
                }
                keep
            });
            *sweeping = !through;
        }
    }
}
