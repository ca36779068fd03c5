//! Slots: each entity's place in insertion order, in segments that are copied on write.

use std::sync::Arc;

use crate::batch::{Item, Span};
use crate::error::{Error, Result, reserve, spare};
use crate::table::half;

/// Slots of a segment: a mutator copies at most 128 kB per segment that a snapshot holds.
pub(super) const SEGMENT: usize = 4096;

/// One entity, or the tombstone of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub record: Span,
    pub key: Span,
    /// The half of the key's hash that the key table uses.
    pub hash: u32,
    live: bool,
}

impl Slot {
    pub fn new(item: &Item) -> Self {
        Slot { record: item.record, key: item.key, hash: half(item.hash), live: true }
    }

    pub fn is_live(&self) -> bool {
        self.live
    }
}

/// Up to [`SEGMENT`] slots. Changes clone it only where [`Slots::own`], whose copy can fail
/// cleanly, was not called first.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    slots: Vec<Slot>,
    live: usize,
}

/// All slots of a store, in insertion order.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    segments: Vec<Arc<Segment>>,
    len: usize,
    live: usize,
}

impl Slots {
    /// The number of slots, tombstones included: the next slot's number.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of live slots.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The memory that they take, in bytes.
    pub fn memory(&self) -> usize {
        let slots: usize = self.segments.iter().map(|segment| segment.slots.capacity()).sum();
        slots * size_of::<Slot>() + self.segments.capacity() * size_of::<Arc<Segment>>()
    }

    pub fn get(&self, slot: u32) -> &Slot {
        &self.segments[slot as usize / SEGMENT].slots[slot as usize % SEGMENT]
    }

    /// Whether this is the number of a live slot.
    pub fn is_live(&self, slot: u32) -> bool {
        (slot as usize) < self.len && self.get(slot).is_live()
    }

    /// The live slots in order.
    pub fn iter(&self) -> Live<'_> {
        Live { slots: self, next: 0, left: self.live }
    }

    /// The same slots, shared.
    pub fn share(&self) -> Result<Self> {
        let mut segments = Vec::new();
        reserve(&mut segments, self.segments.len())?;
        segments.extend_from_slice(&self.segments);
        Ok(Slots { segments, ..*self })
    }

    /// Makes a slot's segment this store's own, so that [`Slots::get_mut`] copies nothing.
    pub fn own(&mut self, slot: u32) -> Result<()> {
        let segment = &mut self.segments[slot as usize / SEGMENT];
        if Arc::get_mut(segment).is_none() {
            let mut slots = Vec::new();
            reserve(&mut slots, segment.slots.len())?;
            slots.extend_from_slice(&segment.slots);
            spare()?;
            *segment = Arc::new(Segment { slots, live: segment.live });
        }
        Ok(())
    }

    /// Makes room for this many more slots, so that [`Slots::extend`] cannot fail.
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        let end = self.len.checked_add(more).filter(|&end| end <= u32::MAX as usize);
        let end = end.ok_or(Error::TooLarge { what: "a store holds at most 2^32 - 1 slots" })?;
        let segments = end.div_ceil(SEGMENT);
        let more = segments.saturating_sub(self.segments.len());
        reserve(&mut self.segments, more)?;
        for index in self.len / SEGMENT..segments {
            if index == self.segments.len() {
                spare()?;
                self.segments.push(Arc::default());
            }
            self.own((index * SEGMENT) as u32)?;
            let room = (end - index * SEGMENT).min(SEGMENT);
            let segment = Arc::make_mut(&mut self.segments[index]);
            if room > segment.slots.capacity() {
                // One slot at a time doubles; what comes all at once gets exactly its room.
                let room = room.max(2 * segment.slots.len()).min(SEGMENT);
                let more = room - segment.slots.len();
                segment
                    .slots
                    .try_reserve_exact(more)
                    .map_err(|_| Error::OutOfMemory { bytes: more * size_of::<Slot>() })?;
            }
        }
        Ok(())
    }

    /// Appends live slots, a segment at a time.
    pub fn extend(&mut self, mut more: impl ExactSizeIterator<Item = Slot>) {
        while more.len() > 0 {
            let segment = Arc::make_mut(&mut self.segments[self.len / SEGMENT]);
            let count = more.len().min(SEGMENT - self.len % SEGMENT);
            segment.slots.extend(more.by_ref().take(count));
            segment.live += count;
            self.len += count;
            self.live += count;
        }
    }

    /// The slot, to be changed.
    pub fn get_mut(&mut self, slot: u32) -> &mut Slot {
        let segment = Arc::make_mut(&mut self.segments[slot as usize / SEGMENT]);
        &mut segment.slots[slot as usize % SEGMENT]
    }

    /// Leaves a tombstone.
    pub fn bury(&mut self, slot: u32) {
        let segment = Arc::make_mut(&mut self.segments[slot as usize / SEGMENT]);
        segment.slots[slot as usize % SEGMENT].live = false;
        segment.live -= 1;
        self.live -= 1;
    }
}

/// The live slots in order, with their numbers; `nth` skips whole segments.
#[derive(Debug, Clone)]
pub(super) struct Live<'a> {
    slots: &'a Slots,
    next: usize,
    left: usize,
}

impl<'a> Iterator for Live<'a> {
    type Item = (u32, &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let segment = &self.slots.segments[self.next / SEGMENT].slots;
            for slot in &segment[self.next % SEGMENT..] {
                let number = self.next as u32;
                self.next += 1;
                if slot.is_live() {
                    self.left -= 1;
                    return Some((number, slot));
                }
            }
            // The last segment may be short, but then nothing is left.
            self.next = self.next.next_multiple_of(SEGMENT);
        }
        None
    }

    fn nth(&mut self, mut n: usize) -> Option<Self::Item> {
        if n >= self.left {
            self.left = 0;
            return None;
        }
        loop {
            if self.next.is_multiple_of(SEGMENT) {
                let live = self.slots.segments[self.next / SEGMENT].live;
                if n >= live {
                    n -= live;
                    self.left -= live;
                    self.next += SEGMENT;
                    continue;
                }
            }
            let item = self.next()?;
            if n == 0 {
                return Some(item);
            }
            n -= 1;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Live<'_> {}
