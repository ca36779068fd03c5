//! The store against a plain vector of pairs, over random sequences of changes.

use std::collections::HashMap;

use omem_core::store::Column;
use omem_core::{Bytes, Changes, Error, Item, Result, Snapshot, Span, Store};
use proptest::prelude::*;

/// Few hash values on purpose, so that unequal keys collide.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(7, |hash: u64, &byte| (hash * 31 + u64::from(byte)) % 61) << 40
}

/// Builds changes as `add` and the merge engine do.
#[derive(Default)]
struct Draft {
    records: Vec<u8>,
    keys: Vec<u8>,
    changes: Changes,
}

impl Draft {
    /// Every other key is a part of its record, the others are built.
    fn item(&mut self, key: u16, text: &str) -> Item {
        let quoted = format!("\"k{key}\"");
        let start = self.records.len() as u32;
        self.records.extend_from_slice(record(key, text).as_bytes());
        let record = Span { chunk: 0, start, len: self.records.len() as u32 - start };
        self.records.extend_from_slice(b",\n");
        let len = quoted.len() as u32;
        let span = if key.is_multiple_of(2) {
            Span { chunk: 0, start: start + 5, len }
        } else {
            let start = self.keys.len() as u32;
            self.keys.extend_from_slice(quoted.as_bytes());
            Span { chunk: 1, start, len }
        };
        Item { record, key: span, hash: hash(quoted.as_bytes()), unset: (0, 0) }
    }

    fn insert(&mut self, key: u16, text: &str) {
        let item = self.item(key, text);
        self.changes.inserts.push(item);
    }

    fn update(&mut self, slot: u32, key: u16, text: &str) {
        let item = self.item(key, text);
        self.changes.updates.push((slot, item));
    }

    /// With a column for each lookup of the store.
    fn finish(mut self, store: &Store) -> Result<Changes> {
        self.changes.chunks = vec![Bytes::from(self.records), Bytes::from(self.keys)];
        for lookup in 0..store.lookups().len() {
            let mut column = Column::default();
            for item in self.changes.items() {
                push(&mut column, lookup, self.changes.bytes(item.record))?;
            }
            self.changes.columns.push(column);
        }
        Ok(self.changes)
    }
}

/// The values of a record in a lookup: one for everything; the text or none; the key; in the
/// others some that many records share, up to three, possibly the same one twice.
fn values(lookup: usize, record: &[u8]) -> Vec<Vec<u8>> {
    let parts: Vec<_> = record.split(|&byte| byte == b'"').collect();
    match lookup {
        0 => vec![b"all".to_vec()],
        1 if parts[7].is_empty() => Vec::new(),
        1 => vec![parts[7][..parts[7].len().min(2)].to_vec()],
        2 => vec![parts[3].to_vec()],
        _ => parts[7].iter().take(3).zip(0..).map(|(c, n)| vec![b'm', c / (n + 1) % 3]).collect(),
    }
}

fn push(column: &mut Column, lookup: usize, record: &[u8]) -> Result<()> {
    values(lookup, record).iter().try_for_each(|value| column.value(value))?;
    column.end()
}

fn key_text(key: u16) -> Vec<u8> {
    format!("\"k{key}\"").into_bytes()
}

fn record(key: u16, text: &str) -> String {
    format!("{{\"k\":\"k{key}\",\"t\":\"{text}\"}}")
}

fn find(store: &Store, key: u16) -> Option<u32> {
    store.find(&key_text(key), hash(&key_text(key)))
}

/// What the store should hold: pairs in insertion order.
#[derive(Debug, Clone, Default)]
struct Model {
    pairs: Vec<(u16, String)>,
}

impl Model {
    fn place(&self, key: u16) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.0 == key)
    }

    fn file(&self) -> Vec<u8> {
        let records: Vec<_> = self.pairs.iter().map(|(key, text)| record(*key, text)).collect();
        records.join(",\n").into_bytes()
    }
}

/// That a snapshot shows exactly the model, in every way to look at it.
fn check_snapshot(snapshot: &Snapshot, model: &Model) {
    assert_eq!(snapshot.len(), model.pairs.len());
    let entries: Vec<_> = snapshot.iter().collect();
    assert_eq!(entries.len(), model.pairs.len());
    for (entry, (key, text)) in entries.iter().zip(&model.pairs) {
        assert_eq!(entry.record, record(*key, text).as_bytes());
        assert_eq!(entry.key, key_text(*key));
        assert_eq!(snapshot.record(entry.slot), entry.record);
        assert_eq!(snapshot.key(entry.slot), entry.key);
    }
    for skip in [0, 1, 7, 63, 100, entries.len(), entries.len() + 1] {
        assert_eq!(snapshot.iter().nth(skip), entries.get(skip).copied());
    }
    let runs: Vec<_> = snapshot.runs().collect();
    assert_eq!(runs.iter().map(|run| run.records).sum::<usize>(), model.pairs.len());
    let runs: Vec<_> = runs.iter().map(|run| run.bytes).collect();
    assert_eq!(runs.join(&b",\n"[..]), model.file());
}

fn check_store(store: &Store, model: &Model) {
    assert_eq!(store.len(), model.pairs.len());
    assert_eq!(store.is_empty(), model.pairs.is_empty());
    for (key, text) in &model.pairs {
        let text = record(*key, text);
        assert_eq!(store.get(&key_text(*key), hash(&key_text(*key))), Some(text.as_bytes()));
    }
    for key in 0..KEYS {
        assert_eq!(find(store, key).is_some(), model.place(key).is_some());
    }
    for (lookup, name) in store.lookups().enumerate() {
        let mut of_value: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for &(key, ref text) in &model.pairs {
            let record = record(key, text);
            for value in values(lookup, record.as_bytes()) {
                let slots = of_value.entry(value).or_default();
                slots.extend(find(store, key));
                slots.dedup();
            }
        }
        assert_eq!(store.get_by_lookup(name, b""), Some(&[][..]));
        for value in ["all", "aa", "bb", "b", "k0", "k1", "k3", "m\0", "m\x01", "m\x02"] {
            let expected = of_value.get(value.as_bytes()).map_or(&[][..], |slots| slots);
            assert_eq!(store.get_by_lookup(name, value.as_bytes()), Some(expected));
        }
    }
    let memory = store.memory();
    let live: usize = model
        .pairs
        .iter()
        .map(|(key, text)| {
            let built = if key.is_multiple_of(2) { 0 } else { key_text(*key).len() };
            record(*key, text).len() + 2 + built
        })
        .sum();
    assert_eq!(memory.live, live);
    assert!(memory.held <= live + live / 5 * 2 + (4 << 10), "{memory:?}");
}

const KEYS: u16 = 200;

#[derive(Debug, Clone)]
enum Step {
    /// For every key: present ones are updated or removed, others inserted.
    Apply(Vec<(u16, String, bool)>),
    /// As `Apply`, with a fault at the end that must leave everything as it was.
    Fail(Vec<(u16, String, bool)>, u8),
    Replace(Vec<(u16, String)>),
    Clear,
    /// Creates the next lookup, or drops the last.
    Lookup(bool),
    Hold,
    Release,
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![9 => 0..40_usize, 1 => 0..3000_usize];
    let text =
        move || (0..26_u8, len()).prop_map(|(c, len)| char::from(b'a' + c).to_string().repeat(len));
    let edits = move || prop::collection::vec((0..KEYS, text(), prop::bool::weighted(0.3)), 0..80);
    prop_oneof![
        10 => edits().prop_map(Step::Apply),
        2 => (edits(), 0..6u8).prop_map(|(edits, fault)| Step::Fail(edits, fault)),
        1 => prop::collection::vec((0..KEYS, text()), 0..80).prop_map(Step::Replace),
        1 => Just(Step::Clear),
        2 => prop::bool::weighted(0.7).prop_map(Step::Lookup),
        3 => Just(Step::Hold),
        2 => Just(Step::Release),
        2 => Just(Step::Take),
    ]
}

/// The changes that the edits ask for, and the model after them.
fn draft(store: &Store, model: &Model, edits: &[(u16, String, bool)]) -> (Draft, Model) {
    let mut draft = Draft::default();
    let mut after = model.clone();
    let edits: HashMap<u16, &(u16, String, bool)> =
        edits.iter().map(|edit| (edit.0, edit)).collect();
    let mut gone = Vec::new();
    for &(key, text, remove) in edits.values() {
        match (find(store, *key), after.place(*key)) {
            (Some(slot), Some(_)) if *remove => {
                draft.changes.removes.push(slot);
                gone.push(*key);
            }
            (Some(slot), Some(place)) => {
                draft.update(slot, *key, text);
                after.pairs[place].1.clone_from(text);
            }
            _ => {
                draft.insert(*key, text);
                after.pairs.push((*key, text.clone()));
            }
        }
    }
    after.pairs.retain(|pair| !gone.contains(&pair.0));
    (draft, after)
}

/// Adds something impossible to a draft; false where the state offers no such thing.
fn sabotage(store: &Store, model: &Model, draft: &mut Draft, fault: u8) -> bool {
    match fault {
        5 => {
            let slots = draft.changes.updates.iter().map(|(slot, _)| *slot);
            let Some(slot) = slots.chain(draft.changes.removes.iter().copied()).next() else {
                return false;
            };
            draft.changes.removes.push(slot);
        }
        0 => {
            draft.insert(KEYS + 1, "twin");
            draft.insert(KEYS + 1, "twin");
        }
        1 => {
            let Some((key, _)) = model.pairs.first() else {
                return false;
            };
            draft.insert(*key, "there");
        }
        2 => {
            let Some((key, _)) = model.pairs.first() else {
                return false;
            };
            let Some(slot) = find(store, *key) else {
                return false;
            };
            draft.update(slot, KEYS + 2, "other key");
        }
        3 => draft.changes.removes.push(u32::MAX),
        _ => draft.insert(KEYS + 3, "far"),
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_list_of_pairs(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::new();
        let mut model = Model::default();
        let mut held: Vec<(Snapshot, Model)> = Vec::new();
        let mut noted = Model::default();
        store.track_changes(true);
        let _ = store.take_changes();
        for step in steps {
            match step {
                Step::Apply(edits) => {
                    let (draft, after) = draft(&store, &model, &edits);
                    store.apply(draft.finish(&store)?)?;
                    model = after;
                }
                Step::Fail(edits, fault) => {
                    let (mut draft, _) = draft(&store, &model, &edits);
                    if sabotage(&store, &model, &mut draft, fault) {
                        let mut changes = draft.finish(&store)?;
                        if fault == 4 {
                            changes.inserts.iter_mut().for_each(|item| item.record.start = u32::MAX);
                        }
                        let refused = matches!(
                            store.apply(changes),
                            Err(Error::Duplicate { .. } | Error::Conflict { .. })
                        );
                        prop_assert!(refused);
                    }
                }
                Step::Replace(pairs) => {
                    let mut draft = Draft::default();
                    let mut after = Model::default();
                    for (key, text) in pairs {
                        if after.place(key).is_none() {
                            draft.insert(key, &text);
                            after.pairs.push((key, text));
                        }
                    }
                    store.replace(draft.finish(&store)?)?;
                    model = after;
                }
                Step::Clear => {
                    store.clear();
                    model = Model::default();
                }
                Step::Lookup(true) => {
                    let lookup = store.lookups().len();
                    let mut column = Column::default();
                    for entry in &store.snapshot()? {
                        push(&mut column, lookup, entry.record)?;
                    }
                    store.create_lookup(&lookup.to_string(), &column)?;
                }
                Step::Lookup(false) => {
                    let last = store.lookups().last().map(str::to_owned);
                    prop_assert!(last.is_none_or(|name| store.drop_lookup(&name)));
                    prop_assert!(!store.drop_lookup("none"));
                }
                Step::Hold => held.push((store.snapshot()?, model.clone())),
                Step::Release => drop(held.pop()),
                Step::Take => {
                    check_changed(&mut store, &noted, &model);
                    noted = model.clone();
                }
            }
            check_store(&store, &model);
            check_snapshot(&store.snapshot()?, &model);
        }
        for (snapshot, model) in &held {
            check_snapshot(snapshot, model);
        }
    }
}

/// That what is noted leads from the one state to the other.
fn check_changed(store: &mut Store, before: &Model, after: &Model) {
    let changed = store.take_changes().unwrap_or_default();
    if changed.all {
        assert!(changed.upserted.is_empty() && changed.removed.is_empty());
        return;
    }
    assert!(changed.upserted.is_sorted());
    let upserted: Vec<_> = changed.upserted.iter().map(|&slot| store.key(slot)).collect();
    for (key, text) in &after.pairs {
        let same = before.place(*key).is_some_and(|place| before.pairs[place].1 == *text);
        assert!(same || upserted.contains(&&key_text(*key)[..]));
    }
    for (key, _) in &before.pairs {
        let gone = after.place(*key).is_none();
        assert_eq!(gone, changed.removed.contains(&key_text(*key)));
    }
    for key in &changed.removed {
        assert!(!after.pairs.iter().any(|pair| key_text(pair.0) == *key));
    }
}

#[test]
fn a_duplicate_names_both_items() -> Result<()> {
    let mut store = Store::new();
    let mut draft = Draft::default();
    for key in [1, 2, 3, 2] {
        draft.insert(key, "");
    }
    let error = store.replace(draft.finish(&store)?);
    assert!(matches!(error, Err(Error::Duplicate { first: 1, second: 3 })));
    assert!(store.is_empty());
    Ok(())
}
