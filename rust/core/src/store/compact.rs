//! Compaction: dead slots and dead bytes are given back, at a cost that the changes which left
//! them have earned.

use std::cmp::Ordering;

use super::Store;
use super::arena::{Arena, Home};
use super::slots::Slots;
use crate::error::{Result, reserve};
use crate::table::Table;

/// Fewer tombstones than this are not worth the work.
const TOMBSTONES: usize = 1024;

/// Dead bytes that are always allowed: with less, a tiny store would be compacted all the time.
const SLACK: usize = 4 << 10;

/// Up to this many live bytes are moved before the chunks they come from are dropped; more
/// only where that is an eighth of the store.
const GROUP: usize = 4 << 20;

impl Store {
    /// Gives back what has become too much. Without memory to do so the store stays as it is,
    /// which is as right as before: the change that led here is done and cannot fail any more.
    ///
    /// Entities that take another place do so here. Without memory they keep the old one, which
    /// makes nothing wrong but the order.
    pub(super) fn tidy(&mut self, moves: &[(u32, u32)]) {
        let dead = self.slots.len() - self.slots.live();
        let moves =
            moves.iter().any(|&(slot, before)| self.is_moved(slot, before)).then_some(moves);
        if moves.is_some() || (dead >= TOMBSTONES && dead > self.slots.live()) {
            let _ = self.renumber(moves.unwrap_or_default());
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.tidy(self.slots.live(), |slot| self.slots.is_live(slot));
        }
        let Arena { held, total, .. } = self.arena;
        if held > total + total / 5 * 2 + SLACK {
            let _ = self.compact();
            self.arena.sweep();
        }
    }

    /// Whether an entity would stand elsewhere before this slot.
    fn is_moved(&self, slot: u32, before: u32) -> bool {
        let between = if slot < before { slot + 1..before } else { before..slot };
        self.slots.is_live(slot) && between.clone().any(|other| self.slots.is_live(other))
    }

    /// Leaves the tombstones out and counts the slots anew, with these entities in other places.
    fn renumber(&mut self, moves: &[(u32, u32)]) -> Result<()> {
        let live = self.slots.live();
        let mut order = Vec::new();
        reserve(&mut order, live)?;
        self.in_order(moves, &mut order)?;
        let mut numbers = Vec::new();
        reserve(&mut numbers, self.slots.len())?;
        numbers.resize(self.slots.len(), u32::MAX);
        let mut slots = Slots::default();
        slots.reserve(live)?;
        let mut table = Table::default();
        table.reserve(live)?;
        for old in order {
            let slot = *self.slots.get(old);
            let new = slots.len() as u32;
            numbers[old as usize] = new;
            slots.extend(std::iter::once(slot));
            table.enter(slot.hash, new, |_| false);
        }
        let mut values = Vec::new();
        reserve(&mut values, self.lookups.len())?;
        for lookup in &self.lookups {
            values.push(lookup.renumbered(&numbers, live)?);
        }
        for (lookup, values) in self.lookups.iter_mut().zip(values) {
            lookup.renumber(&numbers, values);
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.renumber(&numbers);
        }
        (self.slots, self.table) = (slots, table);
        Ok(())
    }

    /// The live slots in order, with these entities in other places.
    fn in_order(&self, moves: &[(u32, u32)], order: &mut Vec<u32>) -> Result<()> {
        let mut moved = Vec::new();
        reserve(&mut moved, moves.len())?;
        moved.extend_from_slice(moves);
        // Stable: those before one slot keep their order.
        moved.sort_by_key(|&(_, before)| before);
        let mut leaving = Vec::new();
        reserve(&mut leaving, moves.len())?;
        leaving.extend(moves.iter().map(|&(slot, _)| slot));
        leaving.sort_unstable();
        let mut arriving = moved.into_iter().peekable();
        let mut leaving = leaving.into_iter().peekable();
        for (slot, _) in self.slots.iter() {
            while let Some((moved, _)) = arriving.next_if(|&(_, before)| before <= slot) {
                order.push(moved);
            }
            while leaving.next_if(|&left| left < slot).is_some() {}
            if leaving.next_if_eq(&slot).is_none() {
                order.push(slot);
            }
        }
        order.extend(arriving.map(|(moved, _)| moved));
        Ok(())
    }

    /// Moves what lives in the emptiest chunks to new ones, some chunks at a time.
    fn compact(&mut self) -> Result<()> {
        let victims = self.arena.victims()?;
        // Nothing may be appended to a chunk that is being emptied.
        self.arena.close();
        let group = GROUP.max(self.arena.total / 8);
        let mut rest = &victims[..];
        while !rest.is_empty() {
            let mut upcoming = [0; 2];
            let mut size = 0;
            while size < rest.len() && (size == 0 || upcoming[0] + upcoming[1] < group) {
                let [records, keys] = self.arena.live[rest[size] as usize];
                upcoming = [upcoming[0] + records, upcoming[1] + keys];
                size += 1;
            }
            self.evacuate(&rest[..size], upcoming)?;
            rest = &rest[size..];
        }
        Ok(())
    }

    /// Moves what lives in these chunks, in the order of slots, which gives dumps long runs.
    fn evacuate(&mut self, victims: &[u32], mut upcoming: [usize; 2]) -> Result<()> {
        let mut sources = Vec::new();
        reserve(&mut sources, self.arena.chunks.len())?;
        sources.resize(self.arena.chunks.len(), None);
        for &victim in victims {
            sources[victim as usize] = self.arena.chunks[victim as usize].clone();
        }
        let source = |chunk: u32| sources.get(chunk as usize).and_then(Option::as_deref);
        let home = |chunk| source(chunk).map_or(Home::At(chunk), |bytes| Home::Copy(bytes));
        for slot in 0..self.slots.len() as u32 {
            let old = *self.slots.get(slot);
            let moves = source(old.record.chunk).is_some() || source(old.key.chunk).is_some();
            if !moves || !old.is_live() {
                continue;
            }
            self.slots.own(slot)?;
            let (record, key) = self.arena.settle(old.record, old.key, home, &mut upcoming)?;
            self.arena.charge(record, key);
            let new = self.slots.get_mut(slot);
            (new.record, new.key) = (record, key);
            self.arena.release(old.record, old.key);
        }
        Ok(())
    }
}

impl Arena {
    /// The chunks with the smallest share of live bytes, as many as it takes to leave no more
    /// than a tenth of dead bytes.
    fn victims(&self) -> Result<Vec<u32>> {
        let sizes = |chunk: u32| {
            let len = self.chunks[chunk as usize].as_ref().map_or(0, |chunk| chunk.len());
            (self.live[chunk as usize].iter().sum::<usize>(), len)
        };
        let mut victims = Vec::new();
        reserve(&mut victims, self.chunks.len())?;
        victims.extend((0..self.chunks.len() as u32).filter(|&chunk| {
            let (live, len) = sizes(chunk);
            live < len
        }));
        victims.sort_unstable_by(|&a, &b| -> Ordering {
            let ((live_a, len_a), (live_b, len_b)) = (sizes(a), sizes(b));
            (live_a as u128 * len_b as u128).cmp(&(live_b as u128 * len_a as u128))
        });
        let mut excess = self.held.saturating_sub(self.total + self.total / 10);
        let enough = victims.iter().position(|&chunk| {
            let (live, len) = sizes(chunk);
            let done = excess == 0;
            excess = excess.saturating_sub(len - live);
            done
        });
        victims.truncate(enough.unwrap_or(victims.len()));
        Ok(victims)
    }
}
