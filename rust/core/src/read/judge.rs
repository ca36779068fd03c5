//! The verdict on one record: accepted with its key, or doubtful.

use crate::batch::{Item, Span};
use crate::check::{Place, check};
use crate::error::{Error, Result, reserve};
use crate::key::{self, KeyPlan, KeyText};
use crate::plan::Plan;

/// What decides.
pub(super) struct Judge<'a> {
    pub plan: &'a Plan,
    pub key: Option<&'a KeyPlan>,
}

/// The chunk number of records in what a judge returns, and that of built keys.
pub(super) const RECORDS: u32 = 0;
pub(super) const KEYS: u32 = 1;

impl Judge<'_> {
    /// Room for the places of a record's fields.
    pub fn places(&self) -> Vec<Place> {
        vec![Place::default(); self.plan.model().map_or(0, |model| model.fields.len())]
    }

    /// The item of the canonical record that begins at `at`, or `None` where there is doubt.
    /// A built key is appended to `keys`.
    pub fn accept(
        &self,
        text: &[u8],
        at: usize,
        places: &mut [Place],
        keys: &mut Vec<u8>,
    ) -> Result<Option<Item>> {
        let Some(end) = check(self.plan, text, at, places) else {
            return Ok(None);
        };
        // What has over 4 GiB is no record, and so it is told.
        let Ok(record) = span(RECORDS, at, end) else { return Ok(None) };
        let Some(plan) = self.key else {
            return Ok(Some(Item { record, key: Span::default(), hash: 0, unset: (0, 0) }));
        };
        let start = keys.len();
        reserve(keys, 2 * (end - at) + 64)?;
        let key = match key::extract(self.plan, plan, &text[at..end], places, keys) {
            Ok(KeyText::InRecord((from, to))) => {
                span(RECORDS, at + from as usize, at + to as usize)?
            }
            Ok(KeyText::Built) => span(KEYS, start, keys.len())?,
            Err(_) => {
                keys.truncate(start);
                return Ok(None);
            }
        };
        let bytes = if key.chunk == KEYS { &keys[key.range()] } else { &text[key.range()] };
        Ok(Some(Item { record, key, hash: key::hash(bytes), unset: (0, 0) }))
    }
}

/// The span from one offset to another.
pub(super) fn span(chunk: u32, from: usize, to: usize) -> Result<Span> {
    match (u32::try_from(from), u32::try_from(to)) {
        (Ok(start), Ok(end)) => Ok(Span { chunk, start, len: end - start }),
        _ => Err(Error::TooLarge { what: "a chunk holds at most 4 GiB" }),
    }
}
