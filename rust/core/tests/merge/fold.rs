//! Folding a batch is merging its items one after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use omem_core::merge::{
    Failed, Folded, Lists, Merger, Options, Strategy, Unobserved, fold, merge_pair,
};
use omem_core::plan::{Field, Items, Model, Node, Plan, Rule};
use omem_core::{Batch, Changes, Error, Item, Span, Store, Unset};
use proptest::prelude::*;

use crate::shapes::{Kinds, Random, schema, value};

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
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
        batch.items.push(Item { record: span, key: key_span, hash, unset });
    }
    batch
}

fn texts<'a>(items: &[(&'a str, &'a str)]) -> Batch {
    batch(items.iter().map(|&(key, record)| (key, record.as_bytes(), &[][..])))
}

fn store(items: &[(&str, &str)]) -> Store {
    let mut store = Store::new();
    store.apply(Changes::from(texts(items))).unwrap();
    store
}

/// All keys with their records, in order.
fn contents(store: &Store) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.snapshot().unwrap().iter().map(|entry| (text(entry.key), text(entry.record))).collect()
}

/// A model with an int `n` under this rule and a list `tags` of at most `max` strings.
fn plan(rule: Rule, max: usize) -> Plan {
    let nodes = vec![
        Node::Int { min: None, max: Some(100) },
        Node::Str { min: 0, max: usize::MAX },
        Node::List(Items { item: 1, min: 0, max }),
        Node::Model(Model {
            fields: vec![
                Field {
                    name: "n".into(),
                    prefix: b"{\"n\":"[..].into(),
                    node: 0,
                    default: None,
                    rule: Some(rule),
                },
                Field {
                    name: "tags".into(),
                    prefix: b",\"tags\":"[..].into(),
                    node: 2,
                    default: None,
                    rule: None,
                },
            ],
            covered: true,
        }),
    ];
    Plan { nodes, root: 3 }
}

const UNION: Strategy = Strategy::MergeField { lists: Lists::Union };

fn counts(folded: &Folded) -> [usize; 4] {
    [folded.added, folded.merged, folded.unchanged, folded.failed.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn is_the_same_as_merging_in_order(seed: u64, strategy in 0..5usize, defaults_unset: bool) {
        let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let schema = schema(random, Kinds { rules: true, mixed: true });
        let strategy = [
            UNION,
            Strategy::MergeField { lists: Lists::Append },
            Strategy::MergeField { lists: Lists::Replace },
            Strategy::KeepIncoming,
            Strategy::KeepExisting,
        ][strategy];
        let merger = Merger::new(&schema.plan, strategy);
        let mut keep = Vec::new();
        for _ in 0..60 {
            let key = format!("\"{}\"", random.below(12));
            keep.push((key, value(random, &schema, schema.plan.root).record()));
        }
        let items = |range: std::ops::Range<usize>| {
            batch(keep[range].iter().map(|(key, (record, unset))| (&key[..], &record[..], &unset[..])))
        };

        let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
        let mut places = HashMap::new();
        for (key, (record, unset)) in &keep {
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
            expected.into_iter().map(|(key, record)| (key, String::from_utf8(record).unwrap())).collect();

        for threads in [1, 3] {
            let mut store = Store::new();
            for range in [0..20, 20..60] {
                let count = range.len();
                let options = Options { threads, defaults_unset, ..Options::default() };
                let folded = fold(&merger, &store, items(range), options).unwrap();
                prop_assert_eq!(counts(&folded).iter().sum::<usize>(), count);
                store.apply(folded.changes).unwrap();
            }
            prop_assert_eq!(&contents(&store), &expected);
        }
    }
}

#[test]
fn many_groups_come_out_the_same_on_any_number_of_threads() {
    let plan = plan(Rule::Sum, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let keys: Vec<String> = (0..20_000).map(|index| format!("\"{}\"", index * 7 % 6007)).collect();
    let records: Vec<String> =
        (0..20_000).map(|index| format!("{{\"n\":{},\"tags\":[\"{}\"]}}", index % 9, index % 7)).collect();
    let items: Vec<_> = keys.iter().map(|key| &key[..]).zip(records.iter().map(|r| &r[..])).collect();
    let outcome = |threads| {
        let mut store = store(&items[..3000]);
        let options = Options { threads, ..Options::default() };
        let folded = fold(&merger, &store, texts(&items[3000..]), options).unwrap();
        let counts = counts(&folded);
        store.apply(folded.changes).unwrap();
        (counts, contents(&store))
    };
    let alone = outcome(1);
    assert_eq!(alone.0[0], 3007);
    assert_eq!(alone.0.iter().sum::<usize>(), 17_000);
    for threads in [2, 3, 16] {
        assert_eq!(outcome(threads), alone);
    }
}

#[test]
fn what_changes_nothing_is_no_change() {
    let plan = plan(Rule::Max, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let store = store(&[("1", r#"{"n":5,"tags":["a","a"]}"#)]);
    let batch = texts(&[("1", r#"{"n":4,"tags":["a"]}"#), ("2", r#"{"n":1,"tags":[]}"#), ("2", r#"{"n":1,"tags":[]}"#)]);
    let folded = fold(&merger, &store, batch, Options::default()).unwrap();
    assert!(folded.changes.updates.is_empty());
    assert_eq!(counts(&folded), [1, 0, 2, 0]);
}

#[test]
fn an_item_that_fails_is_left_out_and_the_others_go_on() {
    let plan = plan(Rule::Custom(7), usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let mut store = store(&[("1", r#"{"n":1,"tags":[]}"#)]);
    let batch = texts(&[
        ("1", r#"{"n":2,"tags":["a"]}"#),
        ("1", r#"{"n":13,"tags":["b"]}"#),
        ("2", r#"{"n":13,"tags":[]}"#),
        ("1", r#"{"n":3,"tags":["c"]}"#),
    ]);
    let mut add = |function: u32, old: &[u8], new: &[u8], out: &mut Vec<u8>| {
        assert_eq!(function, 7);
        let read = |text| str::from_utf8(text).unwrap().parse::<i64>().unwrap();
        if new == b"13" {
            return Err(Error::Merge { item: 99, what: "bad luck".into() });
        }
        out.extend_from_slice((read(old) + read(new)).to_string().as_bytes());
        Ok(())
    };
    let options = Options { custom: Some(&mut add), threads: 2, ..Options::default() };
    let folded = fold(&merger, &store, batch, options).unwrap();
    let failed = Failed {
        item: 1,
        existing: br#"{"n":3,"tags":["a"]}"#[..].into(),
        what: "bad luck ($.n)".into(),
    };
    assert_eq!(folded.failed, [failed]);
    assert_eq!(counts(&folded), [1, 2, 0, 1]);
    store.apply(folded.changes).unwrap();
    let expected = [("1", r#"{"n":6,"tags":["a","c"]}"#), ("2", r#"{"n":13,"tags":[]}"#)];
    assert_eq!(contents(&store), expected.map(|(key, record)| (key.into(), record.into())));
}

#[test]
fn a_custom_rule_without_its_function_fails() {
    let plan = plan(Rule::Custom(0), usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let batch = texts(&[("1", r#"{"n":1,"tags":[]}"#), ("1", r#"{"n":2,"tags":[]}"#)]);
    let folded = fold(&merger, &Store::new(), batch, Options::default()).unwrap();
    assert_eq!(counts(&folded), [1, 0, 0, 1]);
}

#[test]
fn an_error_that_is_no_conflict_ends_the_fold() {
    let plan = plan(Rule::Custom(0), usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let batch = texts(&[("1", r#"{"n":1,"tags":[]}"#), ("1", r#"{"n":2,"tags":[]}"#)]);
    let mut interrupt = |_: u32, _: &[u8], _: &[u8], _: &mut Vec<u8>| Err(Error::Interrupted);
    let options = Options { custom: Some(&mut interrupt), ..Options::default() };
    let folded = fold(&merger, &Store::new(), batch, options);
    assert!(matches!(folded, Err(Error::Interrupted)));
}

/// The judge sees results that may break a constraint, and only those; the items that it refuses
/// are found one by one.
#[test]
fn doubtful_results_are_judged() {
    let plan = plan(Rule::Sum, 2);
    let merger = Merger::new(&plan, UNION);
    let mut store = store(&[("1", r#"{"n":1,"tags":["a"]}"#), ("3", r#"{"n":0,"tags":["a"]}"#)]);
    let batch = texts(&[
        ("1", r#"{"n":1,"tags":["b"]}"#),
        ("1", r#"{"n":1,"tags":["c"]}"#),
        ("2", r#"{"n":99,"tags":[]}"#),
        ("2", r#"{"n":2,"tags":[]}"#),
        ("2", r#"{"n":1,"tags":[]}"#),
        ("3", r#"{"n":null,"tags":["b"]}"#),
    ]);
    let mut seen = Vec::new();
    let mut judge = |key: &[u8], record: &[u8], out: &mut Vec<u8>| {
        let text = str::from_utf8(record).unwrap().to_owned();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        seen.push(String::from_utf8(key.to_vec()).unwrap());
        out.extend_from_slice(record);
        if json["n"].as_i64().unwrap() > 100 {
            return Err(Error::Merge { item: 0, what: "n is at most 100".into() });
        }
        if json["tags"].as_array().unwrap().len() > 2 {
            return Err(Error::Merge { item: 0, what: "too many tags".into() });
        }
        Ok(())
    };
    let options = Options { judge: Some(&mut judge), threads: 2, ..Options::default() };
    let folded = fold(&merger, &store, batch, options).unwrap();
    let failed: Vec<_> = folded.failed.iter().map(|failed| (failed.item, &failed.what[..])).collect();
    assert_eq!(failed, [(1, "too many tags"), (3, "n is at most 100")]);
    assert_eq!(counts(&folded), [1, 3, 0, 2]);
    assert!(!seen.contains(&"3".to_owned()));
    store.apply(folded.changes).unwrap();
    let expected = [
        ("1", r#"{"n":2,"tags":["a","b"]}"#),
        ("3", r#"{"n":0,"tags":["a","b"]}"#),
        ("2", r#"{"n":100,"tags":[]}"#),
    ];
    assert_eq!(contents(&store), expected.map(|(key, record)| (key.into(), record.into())));
}

#[test]
fn what_the_judge_makes_of_a_record_is_kept() {
    let plan = plan(Rule::Sum, 2);
    let merger = Merger::new(&plan, UNION);
    let store = store(&[("1", r#"{"n":1,"tags":["a"]}"#)]);
    let mut judge = |_: &[u8], _: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"n":0,"tags":["judged"]}"#);
        Ok(())
    };
    let options = Options { judge: Some(&mut judge), ..Options::default() };
    let folded = fold(&merger, &store, texts(&[("1", r#"{"n":1,"tags":[]}"#)]), options).unwrap();
    let record = folded.changes.bytes(folded.changes.updates[0].1.record);
    assert_eq!(record, br#"{"n":0,"tags":["judged"]}"#);
}

#[test]
fn progress_can_stop_a_fold() {
    let plan = plan(Rule::Max, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let long = format!(r#"{{"n":1,"tags":["{}"]}}"#, "x".repeat(5000));
    let items: Vec<_> = ["1", "2", "3"].iter().cycle().take(3000).map(|&key| (key, &long[..])).collect();
    for threads in [1, 2] {
        let mut calls = 0;
        let mut progress = |bytes: u64, records: u64| {
            calls += 1;
            assert!(bytes >= 1 << 20 && records >= 200);
            calls < 2
        };
        let options = Options { progress: Some(&mut progress), threads, ..Options::default() };
        let folded = fold(&merger, &Store::new(), texts(&items), options);
        assert!(matches!(folded, Err(Error::Interrupted)), "{threads}");
        assert_eq!(calls, 2);
    }
}

/// A list that grows with every observation is not copied with every observation.
#[test]
fn one_key_with_many_observations_is_linear() {
    let plan = plan(Rule::Sum, usize::MAX);
    let merger = Merger::new(&plan, UNION);
    let time = |count: usize| {
        let records: Vec<String> =
            (0..count).map(|tag| format!("{{\"n\":1,\"tags\":[\"tag {tag}\"]}}")).collect();
        let items: Vec<_> = records.iter().map(|record| ("1", &record[..])).collect();
        let start = Instant::now();
        let folded = fold(&merger, &Store::new(), texts(&items), Options::default()).unwrap();
        let record = folded.changes.bytes(folded.changes.inserts[0].record);
        assert!(record.starts_with(format!("{{\"n\":{count},").as_bytes()));
        start.elapsed()
    };
    time(1000);
    let (short, long) = (time(4000), time(64_000));
    // Sixteen times the items; the square would be 256 times the time.
    assert!(long < short * 64 + Duration::from_millis(50), "{short:?} {long:?}");
}

/// As deep as records can be, on a small stack.
#[test]
fn deep_records_do_not_overflow_the_stack() {
    let plan = Plan { nodes: vec![Node::Any], root: 0 };
    let deep = |leaf: &str| format!("{}{leaf}{}", "{\"a\":[".repeat(99), "]}".repeat(99));
    let nested = |leaf: &str| format!("{}{leaf}{}", "{\"a\":".repeat(198), "}".repeat(198));
    let too_deep = "{\"a\":".repeat(10_000);
    let merge = move || {
        let merger = Merger::new(&plan, UNION);
        for (left, right) in [(deep("1"), deep("2")), (nested("[1]"), nested("[2]"))] {
            let mut out = Vec::new();
            let unobserved = Unobserved::Ranges(&[]);
            merge_pair(&merger, left.as_bytes(), right.as_bytes(), unobserved, None, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains('1') && out.contains('2'), "{out}");
        }
        let closed = format!("{too_deep}1{}", "}".repeat(10_000));
        for text in [too_deep, closed] {
            let other = text.replace('1', "2") + " ";
            let mut out = Vec::new();
            let unobserved = Unobserved::Ranges(&[]);
            let merged =
                merge_pair(&merger, text.as_bytes(), other.as_bytes(), unobserved, None, &mut out);
            assert!(matches!(merged, Err(Error::Merge { .. })));
            assert!(out.is_empty());
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(merge).unwrap().join().unwrap();
}
