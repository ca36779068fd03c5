//! Folding a batch is merging its items one after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use omem_core::key::{KeyPlan, hash};
use omem_core::merge::{
    Failed, Folded, Lists, Merger, Options, Strategy, Unobserved, fold, merge_pair,
};
use omem_core::plan::{Field, Items, Model, Node, Plan, Rule};
use omem_core::{Batch, Changes, Error, Item, Span, Store, Unset};
use proptest::prelude::*;

use crate::shapes::{Kinds, Random, schema, value};

const UNION: Strategy = Strategy::MergeField { lists: Lists::Union };

/// A batch of records under keys that are no part of them.
fn batch<'a>(items: impl IntoIterator<Item = (&'a str, &'a [u8], &'a [Unset])>) -> Batch {
    let mut batch = Batch::default();
    for (key, record, unset) in items {
        let (chunk, bytes) = batch.open_keys().unwrap();
        let key_span = Span { chunk, start: bytes.len() as u32, len: key.len() as u32 };
        bytes.extend_from_slice(key.as_bytes());
        let (chunk, bytes) = batch.open_records().unwrap();
        let span = Span { chunk, start: bytes.len() as u32, len: record.len() as u32 };
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(b",\n");
        let from = batch.unset.len() as u32;
        batch.unset.extend_from_slice(unset);
        let unset = (from, batch.unset.len() as u32);
        batch.items.push(Item { record: span, key: key_span, hash: hash(key.as_bytes()), unset });
    }
    batch
}

/// A model with a key `id`, an int `n` of at most 100 under this rule, and a list `tags` of at
/// most `max` strings.
fn plan(rule: Rule, max: usize) -> Plan {
    let field = |name: &str, prefix: &str, node, rule| {
        let prefix = prefix.as_bytes().into();
        Field { name: name.into(), prefix, node, default: None, rule }
    };
    let fields = vec![
        field("id", "{\"id\":", 1, None),
        field("n", ",\"n\":", 0, Some(rule)),
        field("tags", ",\"tags\":", 2, None),
    ];
    let nodes = vec![
        Node::Int { min: None, max: Some(100) },
        Node::Str { min: 0, max: usize::MAX },
        Node::List(Items { item: 1, min: 0, max }),
        Node::Model(Model { fields, covered: true }),
    ];
    Plan { nodes, root: 3 }
}

fn id() -> KeyPlan {
    KeyPlan::Path(vec![0])
}

fn record(id: &str, n: i64, tags: &str) -> String {
    let tags: Vec<String> = tags.split_whitespace().map(|tag| format!("\"{tag}\"")).collect();
    format!("{{\"id\":\"{id}\",\"n\":{n},\"tags\":[{}]}}", tags.join(","))
}

/// A batch of such records, whose key texts stand in them.
fn records(items: &[(&str, i64, &str)]) -> Batch {
    let mut batch = Batch::default();
    for &(id, n, tags) in items {
        let record = record(id, n, tags);
        let (chunk, bytes) = batch.open_records().unwrap();
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record.as_bytes());
        bytes.extend_from_slice(b",\n");
        let span = Span { chunk, start, len: record.len() as u32 };
        let key = Span { chunk, start: start + 6, len: id.len() as u32 + 2 };
        let hash = hash(batch.bytes(key));
        batch.items.push(Item { record: span, key, hash, unset: (0, 0) });
    }
    batch
}

fn store(batch: Batch) -> Store {
    let mut store = Store::new();
    store.apply(Changes::from(batch)).unwrap();
    store
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All keys with their records, in order.
fn contents(store: &Store) -> Vec<(String, String)> {
    let snapshot = store.snapshot().unwrap();
    snapshot.iter().map(|entry| (text(entry.key), text(entry.record))).collect()
}

fn expected(items: &[(&str, i64, &str)]) -> Vec<(String, String)> {
    items.iter().map(|&(id, n, tags)| (format!("\"{id}\""), record(id, n, tags))).collect()
}

fn counts(folded: &Folded) -> [usize; 4] {
    [folded.added, folded.merged, folded.unchanged, folded.failed.len()]
}

fn conflict(what: &str) -> Error {
    Error::Merge { item: 99, what: what.into() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn is_the_same_as_merging_in_order(seed: u64, strategy in 0..5usize, defaults_unset: bool) {
        let random = &mut Random::new(seed);
        let schema = schema(random, Kinds { rules: true, mixed: true });
        let strategy = [
            UNION,
            Strategy::MergeField { lists: Lists::Append },
            Strategy::MergeField { lists: Lists::Replace },
            Strategy::KeepIncoming,
            Strategy::KeepExisting,
        ][strategy];
        let merger = Merger::new(&schema.plan, strategy);
        let mut given = Vec::new();
        for _ in 0..60 {
            let key = format!("\"{}\"", random.below(12));
            given.push((key, value(random, &schema, schema.plan.root).record()));
        }

        let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
        let mut places = HashMap::new();
        for (key, (record, unset)) in &given {
            let place = *places.entry(key).or_insert(expected.len());
            if place == expected.len() {
                expected.push((key.clone(), record.clone()));
                continue;
            }
            let unobserved =
                if defaults_unset { Unobserved::Defaults } else { Unobserved::Ranges(unset) };
            let mut out = Vec::new();
            merge_pair(&merger, &expected[place].1, record, unobserved, None, &mut out).unwrap();
            expected[place].1 = out;
        }
        let expected: Vec<_> =
            expected.iter().map(|(key, record)| (key.clone(), text(record))).collect();

        for threads in [1, 3] {
            let mut store = Store::new();
            for given in [&given[..20], &given[20..]] {
                let items = given.iter().map(|(key, (record, unset))| (&**key, &**record, &**unset));
                let options = Options { threads, defaults_unset, ..Options::default() };
                let folded = fold(&merger, &store, batch(items), options).unwrap();
                prop_assert_eq!(counts(&folded).iter().sum::<usize>(), given.len());
                store.apply(folded.changes).unwrap();
            }
            prop_assert_eq!(&contents(&store), &expected);
        }
    }
}

#[test]
fn many_groups_come_out_the_same_on_any_number_of_threads() {
    let plan = plan(Rule::Sum, usize::MAX);
    let (merger, keys) = (Merger::new(&plan, UNION), id());
    // Long enough for the results to fill several chunks.
    let tag = |index: i32| format!("{}{}", "x".repeat(200), index % 7);
    let texts: Vec<_> =
        (0..20_000).map(|index| ((index * 7 % 6007).to_string(), tag(index))).collect();
    let items: Vec<_> = texts.iter().map(|(id, tag)| (&**id, 1, &**tag)).collect();
    let outcome = |threads| {
        let mut store = store(records(&items[..3000]));
        let options = Options { threads, keys: Some(&keys), ..Options::default() };
        let folded = fold(&merger, &store, records(&items[3000..]), options).unwrap();
        let counts = counts(&folded);
        store.apply(folded.changes).unwrap();
        (counts, contents(&store))
    };
    let alone = outcome(1);
    assert_eq!(alone.0, [3007, 13_993, 0, 0]);
    assert!(alone.1.iter().map(|(_, record)| record.len()).sum::<usize>() > 3 << 20);
    for threads in [2, 3, 16] {
        assert_eq!(outcome(threads), alone);
    }
}

#[test]
fn what_changes_nothing_is_no_change() {
    let plan = plan(Rule::Max, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let store = store(records(&[("a", 5, "x x")]));
    let batch = records(&[("a", 4, "x"), ("b", 1, ""), ("b", 1, "")]);
    let folded = fold(&merger, &store, batch, Options::default()).unwrap();
    assert!(folded.changes.updates.is_empty());
    assert_eq!(counts(&folded), [1, 0, 2, 0]);
}

#[test]
fn what_comes_back_to_where_it_was_is_no_change() {
    let plan = plan(Rule::KeepIncoming, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let store = store(records(&[("a", 5, "x")]));
    let batch = records(&[("a", 4, "x"), ("a", 5, "x")]);
    let bytes = batch.bytes(batch.items[0].record).len() * 2;
    let folded = fold(&merger, &store, batch, Options::default()).unwrap();
    assert_eq!(counts(&folded), [0, 2, 0, 0]);
    assert!(folded.changes.updates.is_empty());
    // Two separators apart, the batch is all there is.
    assert_eq!(folded.changes.chunks.iter().map(|chunk| chunk.len()).sum::<usize>(), bytes + 4);
}

#[test]
fn the_key_of_a_merged_record_is_a_part_of_it() {
    let plan = plan(Rule::Sum, usize::MAX);
    let (merger, keys) = (Merger::new(&plan, UNION), id());
    let options = Options { keys: Some(&keys), ..Options::default() };
    let batch = records(&[("a", 1, ""), ("a", 1, "")]);
    let changes = fold(&merger, &Store::new(), batch, options).unwrap().changes;
    let item = changes.inserts[0];
    assert!(item.key.within(item.record));
    assert_eq!(changes.bytes(item.key), b"\"a\"");
}

#[test]
fn an_item_that_would_change_the_key_is_left_out() {
    let plan = plan(Rule::Sum, usize::MAX);
    let (merger, keys) = (Merger::new(&plan, UNION), KeyPlan::Path(vec![1]));
    let texts = [record("a", 1, ""), record("b", 1, "x"), record("c", 0, "y")];
    let items = texts.iter().map(|record| ("1", record.as_bytes(), &[][..]));
    let options = Options { keys: Some(&keys), ..Options::default() };
    let folded = fold(&merger, &Store::new(), batch(items), options).unwrap();
    let failed = Failed {
        item: 1,
        existing: texts[0].as_bytes().into(),
        what: "the merge changes the key".into(),
    };
    assert_eq!(folded.failed, [failed]);
    let merged = folded.changes.bytes(folded.changes.inserts[0].record);
    assert_eq!(text(merged), record("c", 1, "y"));
}

#[test]
fn an_item_that_fails_is_left_out_and_the_others_go_on() {
    let plan = plan(Rule::Custom(7), usize::MAX);
    let (merger, keys) = (Merger::new(&plan, UNION), id());
    let mut store = store(records(&[("a", 1, "")]));
    let batch = records(&[("a", 2, "x"), ("a", 13, "y"), ("b", 13, ""), ("a", 3, "z")]);
    let mut add = |function: u32, old: &[u8], new: &[u8], out: &mut Vec<u8>| {
        assert_eq!(function, 7);
        if new == b"13" {
            return Err(conflict("bad luck"));
        }
        let read = |number: &[u8]| text(number).parse::<i64>().unwrap();
        out.extend_from_slice((read(old) + read(new)).to_string().as_bytes());
        Ok(())
    };
    let options =
        Options { custom: Some(&mut add), threads: 2, keys: Some(&keys), ..Options::default() };
    let folded = fold(&merger, &store, batch, options).unwrap();
    let failed = Failed {
        item: 1,
        existing: record("a", 3, "x").as_bytes().into(),
        what: "bad luck ($.n)".into(),
    };
    assert_eq!(folded.failed, [failed]);
    assert_eq!(counts(&folded), [1, 2, 0, 1]);
    store.apply(folded.changes).unwrap();
    assert_eq!(contents(&store), expected(&[("a", 6, "x z"), ("b", 13, "")]));
}

#[test]
fn a_custom_rule_without_its_function_fails() {
    let plan = plan(Rule::Custom(0), usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let batch = records(&[("a", 1, ""), ("a", 2, "")]);
    let folded = fold(&merger, &Store::new(), batch, Options::default()).unwrap();
    assert_eq!(counts(&folded), [1, 0, 0, 1]);
}

#[test]
fn an_error_that_is_no_conflict_ends_the_fold() {
    let plan = plan(Rule::Custom(0), usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let batch = records(&[("a", 1, ""), ("a", 2, "")]);
    let mut interrupt = |_: u32, _: &[u8], _: &[u8], _: &mut Vec<u8>| Err(Error::Interrupted);
    let options = Options { custom: Some(&mut interrupt), ..Options::default() };
    let folded = fold(&merger, &Store::new(), batch, options);
    assert!(matches!(folded, Err(Error::Interrupted)));
}

/// The judge sees the results that break a constraint, and only those; the items that it
/// refuses are found one by one.
#[test]
fn doubtful_results_are_judged() {
    let plan = plan(Rule::Sum, 2);
    let (merger, keys) = (Merger::new(&plan, UNION), id());
    let mut store = store(records(&[("a", 1, "x"), ("c", 0, "x")]));
    let batch = records(&[
        ("a", 1, "y"),
        ("a", 1, "z"),
        ("b", 99, ""),
        ("b", 2, ""),
        ("b", 1, ""),
        ("c", 5, "y"),
    ]);
    let mut seen = Vec::new();
    let mut judge = |key: &[u8], record: &[u8], out: &mut Vec<u8>| {
        seen.push(text(key));
        out.extend_from_slice(record);
        let json: serde_json::Value = serde_json::from_slice(record).unwrap();
        match (json["n"].as_i64(), json["tags"].as_array().map(Vec::len)) {
            (Some(101..), _) => Err(conflict("n is at most 100")),
            (_, Some(3..)) => Err(conflict("too many tags")),
            _ => Ok(()),
        }
    };
    let options =
        Options { judge: Some(&mut judge), threads: 2, keys: Some(&keys), ..Options::default() };
    let folded = fold(&merger, &store, batch, options).unwrap();
    let failed: Vec<_> = folded.failed.iter().map(|failed| (failed.item, &*failed.what)).collect();
    assert_eq!(failed, [(1, "too many tags"), (3, "n is at most 100")]);
    assert_eq!(counts(&folded), [1, 3, 0, 2]);
    // Each group once as a whole and once for the item that breaks it.
    assert_eq!(seen, ["\"a\"", "\"a\"", "\"b\"", "\"b\""]);
    store.apply(folded.changes).unwrap();
    assert_eq!(contents(&store), expected(&[("a", 2, "x y"), ("c", 5, "x y"), ("b", 100, "")]));
}

/// Where a record does not tell its key, the judge sees every merged one, and what it makes of it
/// is kept.
#[test]
fn what_the_judge_makes_of_a_record_is_kept() {
    let plan = plan(Rule::Max, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let of_a_list = KeyPlan::Path(vec![2]);
    for keys in [None, Some(&of_a_list)] {
        let mut store = store(records(&[("a", 1, "x"), ("b", 1, "x")]));
        let mut judge = |key: &[u8], merged: &[u8], out: &mut Vec<u8>| {
            assert_eq!((key, merged), (&b"\"a\""[..], record("a", 2, "x").as_bytes()));
            out.extend_from_slice(record("a", 0, "judged").as_bytes());
            Ok(())
        };
        let options = Options { judge: Some(&mut judge), keys, ..Options::default() };
        let batch = records(&[("a", 2, ""), ("b", 1, ""), ("c", 1, "")]);
        let folded = fold(&merger, &store, batch, options).unwrap();
        store.apply(folded.changes).unwrap();
        assert_eq!(contents(&store), expected(&[("a", 0, "judged"), ("b", 1, "x"), ("c", 1, "")]));
    }
}

/// What the fast way sees is each item's hash; keys that share one are told apart all the same.
#[test]
fn new_keys_become_entities_whatever_their_hashes() {
    let items = [("a", 1, "x"), ("b", 2, ""), ("c", 3, "y z")];
    let plan = plan(Rule::KeepIncoming, 9);
    for collide in [false, true] {
        let mut batch = records(&items);
        if collide {
            batch.items.iter_mut().for_each(|item| item.hash = 7);
        }
        let folded =
            fold(&Merger::new(&plan, UNION), &Store::new(), batch, Options::default()).unwrap();
        assert_eq!(counts(&folded), [3, 0, 0, 0]);
        let mut store = Store::new();
        store.apply(folded.changes).unwrap();
        assert_eq!(contents(&store), expected(&items));
    }
}

#[test]
fn progress_can_stop_a_fold() {
    let plan = plan(Rule::Max, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let long = "x".repeat(5000);
    let items: Vec<_> =
        ["a", "b", "c"].iter().cycle().take(3000).map(|&id| (id, 1, &*long)).collect();
    for threads in [1, 2] {
        let mut calls = 0;
        let mut progress = |bytes: u64, records: u64| {
            calls += 1;
            assert!(bytes >= 1 << 20 && records >= 200, "{bytes} {records}");
            false
        };
        let options = Options { progress: Some(&mut progress), threads, ..Options::default() };
        let folded = fold(&merger, &Store::new(), records(&items), options);
        assert!(matches!(folded, Err(Error::Interrupted)), "{threads}");
        assert_eq!(calls, 1);
    }
}

/// A list that grows with every observation is not copied with every observation.
#[test]
fn one_key_with_many_observations_is_linear() {
    let plan = plan(Rule::Sum, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let time = |count: i64| {
        let tags: Vec<String> = (0..count).map(|tag| format!("tag{tag}")).collect();
        let items: Vec<_> = tags.iter().map(|tag| ("a", 1, &**tag)).collect();
        let batch = records(&items);
        let start = Instant::now();
        let changes = fold(&merger, &Store::new(), batch, Options::default()).unwrap().changes;
        let time = start.elapsed();
        let merged = text(changes.bytes(changes.inserts[0].record));
        assert_eq!(merged, record("a", count, &tags.join(" ")));
        time
    };
    time(1000);
    let (short, long) = (time(4000), time(64_000));
    // Sixteen times the items; the square would be 256 times the time.
    assert!(long < short * 64 + Duration::from_millis(50), "{short:?} {long:?}");
}
