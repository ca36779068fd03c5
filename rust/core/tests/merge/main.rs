//! Merging against a plain reference, and the laws that it promises.

mod fold;
mod members;
mod reference;
mod rules;
mod shapes;

use omem_core::Error;
use omem_core::merge::{Lists, Merger, Strategy, Unobserved, merge_pair};
use omem_core::plan::{Node, Plan, Rule};
use proptest::prelude::*;
use reference::Reference;
use shapes::{Kinds, Random, Schema, Value, schema, value};

const LISTS: [Lists; 3] = [Lists::Union, Lists::Append, Lists::Replace];
const PLAIN: Kinds = Kinds { rules: false, mixed: false };
const ALL: Kinds = Kinds { rules: true, mixed: true };

fn merge(
    schema: &Schema,
    lists: Lists,
    existing: &[u8],
    incoming: &[u8],
    unobserved: Unobserved<'_>,
) -> String {
    let merger = Merger::new(&schema.plan, Strategy::MergeField { lists });
    let mut out = b"before".to_vec();
    merge_pair(&merger, existing, incoming, unobserved, None, &mut out).unwrap();
    String::from_utf8(out.split_off(6)).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn merges_as_the_reference_does(seed: u64, lists in 0..3usize) {
        let (random, lists) = (&mut Random::new(seed), LISTS[lists]);
        let schema = schema(random, ALL);
        let mut existing = value(random, &schema, schema.plan.root);
        for round in 0..4 {
            let incoming = value(random, &schema, schema.plan.root);
            let (record, ranges) = incoming.record();
            let defaults_unset = round % 2 == 1;
            let unobserved =
                if defaults_unset { Unobserved::Defaults } else { Unobserved::Ranges(&ranges) };
            let merged = merge(&schema, lists, existing.text().as_bytes(), &record, unobserved);
            let reference = Reference { schema: &schema, lists, defaults_unset };
            let expected = reference.merge(schema.plan.root, &existing, &incoming);
            prop_assert_eq!(
                &merged, &expected.text(), "{} + {} ({:?})", existing.text(), incoming.text(), schema
            );
            existing = expected;
        }
    }

    /// `x ⊕ x = x`, whatever a list repeats.
    #[test]
    fn is_idempotent(seed: u64) {
        let random = &mut Random::new(seed);
        let mut schema = schema(random, ALL);
        drop_rules(&mut schema, |rule| matches!(rule, Rule::Sum | Rule::Append));
        let (record, _) = value(random, &schema, schema.plan.root).record();
        for unobserved in [Unobserved::Ranges(&[]), Unobserved::Defaults] {
            for lists in [Lists::Union, Lists::Replace] {
                prop_assert_eq!(merge(&schema, lists, &record, &record, unobserved), text(&record));
            }
        }
    }

    /// Where everything is set and no field changes its JSON kind.
    #[test]
    fn is_associative(seed: u64, lists in 0..3usize) {
        let (random, lists) = (&mut Random::new(seed), LISTS[lists]);
        let mut schema = schema(random, Kinds { rules: true, mixed: false });
        // Sums of floats are rounded.
        drop_rules(&mut schema, |rule| rule == Rule::Sum);
        let [x, y, z] = [(); 3].map(|()| value(random, &schema, schema.plan.root).record().0);
        let set = Unobserved::Ranges(&[]);
        let left = merge(&schema, lists, merge(&schema, lists, &x, &y, set).as_bytes(), &z, set);
        let right = merge(&schema, lists, &x, merge(&schema, lists, &y, &z, set).as_bytes(), set);
        prop_assert_eq!(left, right, "{} {} {}", text(&x), text(&y), text(&z));
    }

    /// Whatever was observed is in the result, and so is what was known and not contradicted.
    #[test]
    fn nothing_is_lost(seed: u64) {
        let random = &mut Random::new(seed);
        let schema = schema(random, PLAIN);
        let [x, y] = [(); 2].map(|()| value(random, &schema, schema.plan.root));
        let (incoming, ranges) = y.record();
        let merged = merge(&schema, Lists::Union, x.text().as_bytes(), &incoming, Unobserved::Ranges(&ranges));
        let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
        prop_assert!(holds(&merged, &y, true), "{merged} {}", y.text());
        prop_assert!(holds(&merged, &x, false), "{merged} {}", x.text());
    }
}

/// As deep as records can be, on a small stack; what is deeper is refused.
#[test]
fn deep_records_do_not_overflow_the_stack() {
    let nested = |open: &str, close: &str, depth: usize, leaf: &str| {
        format!("{}{leaf}{}", open.repeat(depth), close.repeat(depth))
    };
    let merge = move || {
        let plan = Plan { nodes: vec![Node::Any], root: 0 };
        let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
        let merge = |left: &str, right: &str| {
            let (mut out, unobserved) = (Vec::new(), Unobserved::Ranges(&[]));
            let (left, right) = (left.as_bytes(), right.as_bytes());
            merge_pair(&merger, left, right, unobserved, None, &mut out)
                .map(|_| text(&out).to_owned())
        };
        for (open, close, depth) in [("{\"a\":[", "]}", 99), ("{\"a\":", "}", 198)] {
            let [one, two] = ["[1]", "[2]"].map(|leaf| nested(open, close, depth, leaf));
            let merged = merge(&one, &two).unwrap();
            assert!(merged.contains('1') && merged.contains('2'), "{merged}");
        }
        for depth in [200, 5000] {
            let [one, two] = ["1", "2"].map(|leaf| nested("{\"a\":", "}", depth, leaf));
            assert!(matches!(merge(&one, &two), Err(Error::Merge { .. })));
            assert!(merge(&one, &two[..two.len() - depth]).is_err());
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(merge).unwrap().join().unwrap();
}

fn drop_rules(schema: &mut Schema, unwanted: fn(Rule) -> bool) {
    for node in &mut schema.plan.nodes {
        if let Node::Model(model) = node {
            for field in &mut model.fields {
                field.rule = field.rule.filter(|&rule| !unwanted(rule));
            }
        }
    }
}

/// Whether the merged value holds what a side knew; its scalars too, if it had the last word.
/// Arrays of plain schemas are lists, sets, or tuples, which are overwritten.
fn holds(merged: &serde_json::Value, side: &Value, last: bool) -> bool {
    use serde_json::Value as Json;
    match (merged, side) {
        (Json::Object(object), Value::Dict(members)) => members.iter().all(|(key, value)| {
            let key: String = serde_json::from_str(key).unwrap();
            object.get(&key).is_some_and(|merged| holds(merged, value, last))
        }),
        (Json::Object(object), Value::Record(fields)) => fields.iter().all(|field| {
            let key: String =
                serde_json::from_str(field.prefix[1..].trim_end_matches(':')).unwrap();
            !field.set || holds(&object[&key], &field.value, last)
        }),
        (Json::Array(elements), Value::List(values)) if last => (values.iter())
            .all(|value| elements.contains(&serde_json::from_str(&value.text()).unwrap())),
        (merged, Value::Scalar(text)) => {
            text == "null" || !last || *merged == serde_json::from_str::<Json>(text).unwrap()
        }
        (merged, _) => !last || merged.is_null(),
    }
}
