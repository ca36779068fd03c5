//! Each rule on values that tell it from the others.

use omem_core::Unset;
use omem_core::merge::{Lists, Merged, Merger, Strategy, Unobserved, merge_pair, rule_fits};
use omem_core::plan::{Field, Items, Limit, Model, Node, NodeId, Plan, Rule, Text};

const INT: Node = Node::Int { min: None, max: None };
const FLOAT: Node = Node::Float { min: None, max: None, inf_nan: true };
const STR: Node = Node::Str { min: 0, max: usize::MAX };

fn list(item: NodeId) -> Node {
    Node::List(Items { item, min: 0, max: usize::MAX })
}

/// A plan whose record is `{"v":…}`. `nodes[0]` is the value's node, and others count from 0 too.
fn plan(nodes: &[Node], rule: Option<Rule>, default: Option<&str>) -> Plan {
    let default = default.map(|text| text.as_bytes().into());
    let field = Field { name: "v".into(), prefix: b"{\"v\":"[..].into(), node: 0, default, rule };
    let mut nodes = nodes.to_vec();
    nodes.push(Node::Model(Model { fields: vec![field], covered: true }));
    let root = nodes.len() as NodeId - 1;
    Plan { nodes, root }
}

fn merge(plan: &Plan, old: &str, new: &str) -> Result<(String, Merged), String> {
    let merger = Merger::new(plan, Strategy::MergeField { lists: Lists::Union });
    let [old, new] = [old, new].map(|value| format!("{{\"v\":{value}}}"));
    let mut out = Vec::new();
    merge_pair(&merger, old.as_bytes(), new.as_bytes(), Unobserved::Ranges(&[]), None, &mut out)
        .map(|merged| {
            let out = String::from_utf8(out).unwrap();
            (out[5..out.len() - 1].to_owned(), merged)
        })
        .map_err(|error| error.to_string())
}

/// Checks `old`, `new`, `merged` under a rule.
#[track_caller]
fn check(nodes: &[Node], rule: Rule, cases: &[[&str; 3]]) {
    let plan = plan(nodes, Some(rule), None);
    assert!(rule_fits(&plan, 0, rule), "{rule:?}");
    for [old, new, expected] in cases {
        let (value, merged) = merge(&plan, old, new).unwrap();
        assert_eq!(value, *expected, "{rule:?} {old} {new}");
        assert_eq!(merged.changed, value != *old, "{rule:?} {old} {new}");
    }
}

#[track_caller]
fn check_fails(nodes: &[Node], rule: Rule, old: &str, new: &str, message: &str) {
    assert_eq!(merge(&plan(nodes, Some(rule), None), old, new).unwrap_err(), message);
}

#[test]
fn null_changes_nothing_and_is_replaced_whatever_the_rule() {
    let rules =
        [Rule::Max, Rule::Min, Rule::Sum, Rule::KeepExisting, Rule::KeepIncoming, Rule::Custom(0)];
    for rule in rules {
        let nodes = [Node::Nullable(1), INT];
        check(&nodes, rule, &[["7", "null", "7"], ["null", "7", "7"], ["null", "null", "null"]]);
    }
}

#[test]
fn max_and_min_compare_numbers_by_value() {
    let big = ["9007199254740992", "9007199254740993", "9007199254740993"];
    check(&[INT], Rule::Max, &[["9", "10", "10"], ["-9", "-10", "-9"], big]);
    check(&[INT], Rule::Min, &[["9", "10", "9"], ["-9", "-10", "-10"]]);
    check(
        &[FLOAT],
        Rule::Max,
        &[
            ["1.5", "1e300", "1e300"],
            ["0.0", "-0.0", "0.0"],
            ["\"NaN\"", "1.0", "1.0"],
            ["1.0", "\"NaN\"", "1.0"],
            ["\"Infinity\"", "1.0", "\"Infinity\""],
            ["1.0", "\"-Infinity\"", "1.0"],
            ["\"-Infinity\"", "\"Infinity\"", "\"Infinity\""],
        ],
    );
    check(
        &[FLOAT],
        Rule::Min,
        &[["\"NaN\"", "1.0", "1.0"], ["1.0", "\"-Infinity\"", "\"-Infinity\""]],
    );
    check(&[Node::Bool], Rule::Max, &[["false", "true", "true"], ["true", "false", "true"]]);
    check(
        &[Node::Union(vec![1, 2]), INT, FLOAT],
        Rule::Max,
        &[["1", "1.5", "1.5"], ["2", "1.5", "2"]],
    );
}

#[test]
fn max_and_min_compare_texts_by_value() {
    check(
        &[Node::Text(Text::Decimal)],
        Rule::Max,
        &[
            ["\"9.5\"", "\"10\"", "\"10\""],
            ["\"1.0\"", "\"1.00\"", "\"1.0\""],
            ["\"NaN\"", "\"1\"", "\"1\""],
            ["\"1\"", "\"sNaN\"", "\"1\""],
        ],
    );
    check(
        &[Node::Text(Text::DateTime)],
        Rule::Max,
        &[
            [
                "\"2024-01-01T12:00:00Z\"",
                "\"2024-01-01T12:30:00+01:00\"",
                "\"2024-01-01T12:00:00Z\"",
            ],
            [
                "\"2024-01-01T12:00:00\"",
                "\"2024-01-01T12:00:00.000001\"",
                "\"2024-01-01T12:00:00.000001\"",
            ],
        ],
    );
    check(
        &[Node::Text(Text::Date)],
        Rule::Min,
        &[["\"2024-01-01\"", "\"0999-12-31\"", "\"0999-12-31\""]],
    );
    check(&[STR], Rule::Max, &[["\"a\"", "\"b\"", "\"b\""], ["\"z\"", "\"\\u001f\"", "\"z\""]]);
    check(&[Node::Opaque], Rule::Max, &[["\"9.5\"", "\"10\"", "\"10\""], ["9.5", "10", "10"]]);
    let aware = ["\"2024-01-01T12:00:00Z\"", "\"2024-01-01T12:00:00\""];
    check_fails(
        &[Node::Text(Text::DateTime)],
        Rule::Max,
        aware[0],
        aware[1],
        "one has a time zone and the other has none ($.v)",
    );
    check_fails(&[Node::Opaque], Rule::Max, "1", "[1]", "the values cannot be compared ($.v)");
}

#[test]
fn sums_are_exact_where_numbers_are() {
    check(
        &[INT],
        Rule::Sum,
        &[
            ["1", "2", "3"],
            ["9223372036854775807", "1", "9223372036854775808"],
            ["-5", "5", "0"],
            ["-99999999999999999999", "-1", "-100000000000000000000"],
        ],
    );
    check(
        &[FLOAT],
        Rule::Sum,
        &[
            ["0.1", "0.2", "0.30000000000000004"],
            ["1e308", "1e308", "\"Infinity\""],
            ["\"Infinity\"", "\"-Infinity\"", "\"NaN\""],
            ["\"NaN\"", "1.0", "\"NaN\""],
        ],
    );
    let decimals = [["\"0.10\"", "\"0.2\"", "\"0.30\""], ["\"1E+3\"", "\"1\"", "\"1001\""]];
    check(&[Node::Text(Text::Decimal)], Rule::Sum, &decimals);
    check_fails(
        &[Node::Text(Text::Decimal)],
        Rule::Sum,
        "\"NaN\"",
        "\"1\"",
        "the values cannot be added ($.v)",
    );
    check_fails(&[Node::Opaque], Rule::Sum, "true", "1", "the values cannot be added ($.v)");
}

#[test]
fn a_sum_that_may_be_out_of_bounds_is_doubtful() {
    let doubtful = |node: Node, old: &str, new: &str| {
        merge(&plan(&[node], Some(Rule::Sum), None), old, new).unwrap().1.doubtful
    };
    assert!(!doubtful(INT, "1", "2"));
    assert!(doubtful(Node::Int { min: None, max: Some(2) }, "1", "2"));
    let bound = Some(Limit { at: 0.0, open: false });
    assert!(doubtful(Node::Float { min: bound, max: None, inf_nan: true }, "1.0", "2.0"));
    let finite = Node::Float { min: None, max: None, inf_nan: false };
    assert!(!doubtful(finite.clone(), "1.0", "2.0"));
    assert!(doubtful(finite, "1e308", "1e308"));
    assert!(doubtful(Node::Opaque, "1", "2"));
}

#[test]
fn keep_existing_takes_a_default_for_none() {
    let plan = plan(&[INT], Some(Rule::KeepExisting), Some("0"));
    assert_eq!(merge(&plan, "1", "2").unwrap().0, "1");
    assert_eq!(merge(&plan, "0", "2").unwrap().0, "2");
    assert_eq!(merge(&plan, "1", "0").unwrap().0, "1");
}

#[test]
fn whole_values_are_kept_or_replaced() {
    let nodes = [list(1), INT];
    check(&nodes, Rule::KeepIncoming, &[["[1]", "[2]", "[2]"], ["[1]", "[]", "[]"]]);
    check(&nodes, Rule::Replace, &[["[1]", "[2]", "[2]"], ["[1]", "[]", "[]"]]);
    check(&nodes, Rule::KeepExisting, &[["[1]", "[2]", "[1]"], ["[]", "[2]", "[]"]]);
}

#[test]
fn lists_are_united_or_appended() {
    let nodes = [list(1), Node::Any];
    check(
        &nodes,
        Rule::Union,
        &[
            ["[1,1]", "[2,1,2]", "[1,1,2]"],
            ["[]", "[2,2]", "[2,2]"],
            ["[1]", "[1.0,true]", "[1,1.0,true]"],
            [
                "[{\"a\":1,\"b\":[{\"c\":1,\"d\":2}]}]",
                "[{\"b\":[{\"d\":2,\"c\":1}],\"a\":1}]",
                "[{\"a\":1,\"b\":[{\"c\":1,\"d\":2}]}]",
            ],
        ],
    );
    check(&nodes, Rule::Append, &[["[1,2]", "[2,2]", "[1,2,2,2]"], ["[1]", "[]", "[1]"]]);
    let set = [Node::Set(Items { item: 1, min: 0, max: usize::MAX }), INT];
    check(&set, Rule::Union, &[["[10,2]", "[1,10]", "[1,10,2]"]]);
    check_fails(&[Node::Opaque], Rule::Union, "1", "[1]", "both values must be lists ($.v)");
}

/// From some length on elements and keys are found by hash.
#[test]
fn long_lists_and_dicts_are_merged_as_short_ones_are() {
    let elements = |range: std::ops::Range<i32>| {
        let elements: Vec<String> =
            range.map(|n| format!("{{\"n\":{n},\"half\":{}}}", n / 2)).collect();
        format!("[{}]", elements.join(","))
    };
    let turned = elements(20..60).replace("\"n\":20,\"half\":10", "\"half\":10,\"n\":20");
    check(&[list(1), Node::Any], Rule::Union, &[[&elements(0..40), &turned, &elements(0..60)]]);
    let twice = format!("[{},1]", (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    check(&[list(1), INT], Rule::Union, &[[&twice, "[39,0,1,1]", &twice]]);

    let dict = Node::Dict(Items { item: 1, min: 0, max: usize::MAX });
    let members = |range: std::ops::Range<i32>, value: i32| {
        let members: Vec<String> = range.map(|n| format!("\"{n}\":[{value}]")).collect();
        members.join(",")
    };
    let old = format!("{{{}}}", members(0..40, 1));
    let new = format!("{{{}}}", members(20..60, 2));
    let merged = format!(
        "{{{},{},{}}}",
        members(0..20, 1),
        members(20..40, 1).replace("[1]", "[1,2]"),
        members(40..60, 2)
    );
    let plan = plan(&[dict, list(2), INT], None, None);
    assert_eq!(merge(&plan, &old, &new).unwrap().0, merged);
}

/// Only Pydantic knows in which order a model with a serializer writes its fields.
#[test]
fn elements_that_pydantic_writes_are_compared_without_their_order() {
    let model = |covered| Node::Model(Model { fields: Vec::new(), covered });
    let cases = ["[{\"x\":1,\"y\":2}]", "[{\"y\":2,\"x\":1}]"];
    for nodes in [[list(1), model(false)], [list(1), Node::Opaque]] {
        check(&nodes, Rule::Union, &[[cases[0], cases[1], cases[0]]]);
    }
}

#[test]
fn longest_counts_code_points_and_keeps_the_existing_on_a_tie() {
    check(
        &[STR],
        Rule::Longest,
        &[
            ["\"ab\"", "\"é\"", "\"ab\""],
            ["\"ab\"", "\"éö\"", "\"ab\""],
            ["\"ab\"", "\"éöü\"", "\"éöü\""],
            ["\"abc\"", "\"\\n\\u001f\"", "\"abc\""],
            ["\"a\"", "\"\\n\\u001f\"", "\"\\n\\u001f\""],
        ],
    );
    check_fails(&[Node::Any], Rule::Longest, "\"a\"", "12", "both values must be texts ($.v)");
}

/// Only what the incoming model had set counts; of a record, only what differs from its default.
#[test]
fn unset_values_change_nothing() {
    let mut plan = plan(&[Node::Model(Model { fields: Vec::new(), covered: true })], None, None);
    let field = |name: &str, node, default: &str| {
        let prefix = format!("{}\"{name}\":", if name == "a" { '{' } else { ',' }).into_bytes();
        let default = Some(default.as_bytes().into());
        Field { name: name.into(), prefix: prefix.into(), node, default, rule: None }
    };
    plan.nodes.push(INT);
    let int = plan.nodes.len() as NodeId - 1;
    let fields = vec![field("a", int, "0"), field("b", int, "1")];
    plan.nodes[0] = Node::Model(Model { fields, covered: true });
    let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
    let existing = br#"{"v":{"a":5,"b":6}}"#;
    let incoming = br#"{"v":{"a":0,"b":2}}"#;
    let merge = |unobserved| {
        let mut out = Vec::new();
        merge_pair(&merger, existing, incoming, unobserved, None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(merge(Unobserved::Ranges(&[])), r#"{"v":{"a":0,"b":2}}"#);
    assert_eq!(
        merge(Unobserved::Ranges(&[Unset { start: 10, end: 11 }])),
        r#"{"v":{"a":5,"b":2}}"#
    );
    assert_eq!(
        merge(Unobserved::Ranges(&[Unset { start: 16, end: 17 }])),
        r#"{"v":{"a":0,"b":6}}"#
    );
    assert_eq!(merge(Unobserved::Ranges(&[Unset { start: 5, end: 18 }])), r#"{"v":{"a":5,"b":6}}"#);
    assert_eq!(merge(Unobserved::Defaults), r#"{"v":{"a":5,"b":2}}"#);
}

/// A model with a serializer of its own may write other fields, or in another order.
#[test]
fn fields_are_found_by_name_where_they_do_not_stand_in_order() {
    let mut plan = plan(&[INT], Some(Rule::Max), None);
    let root = plan.root as usize;
    let Node::Model(model) = &mut plan.nodes[root] else { panic!() };
    model.covered = false;
    let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
    for (old, new, expected) in [
        (r#"{"v":5}"#, r#"{"x":1,"v":4}"#, r#"{"v":5,"x":1}"#),
        (r#"{"x":1,"v":4}"#, r#"{"v":5}"#, r#"{"x":1,"v":5}"#),
        (r#"{"x":[1]}"#, r#"{"x":[2],"v":5}"#, r#"{"x":[1,2],"v":5}"#),
    ] {
        let mut out = Vec::new();
        let unobserved = Unobserved::Ranges(&[]);
        let merged =
            merge_pair(&merger, old.as_bytes(), new.as_bytes(), unobserved, None, &mut out)
                .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(merged.changed && merged.doubtful);
    }
}

#[test]
fn rules_fit_the_types_that_they_have_a_meaning_for() {
    let nodes = [
        INT,
        STR,
        list(0),
        Node::Set(Items { item: 0, min: 0, max: 9 }),
        Node::Dict(Items { item: 0, min: 0, max: 9 }),
        Node::Union(vec![0, 1]),
        Node::Nullable(2),
        Node::Opaque,
        Node::Text(Text::Decimal),
        Node::Text(Text::Date),
        Node::Choice(vec![b"\"low\""[..].into(), b"\"high\""[..].into()]),
        Node::Choice(vec![b"1"[..].into(), b"2"[..].into()]),
        Node::Bool,
    ];
    let plan = Plan { nodes: nodes.to_vec(), root: 0 };
    let fitting = |rule| {
        (0..nodes.len()).filter(|&node| rule_fits(&plan, node as NodeId, rule)).collect::<Vec<_>>()
    };
    let all: Vec<usize> = (0..nodes.len()).collect();
    assert_eq!(fitting(Rule::Max), [0, 1, 7, 8, 9, 11, 12]);
    assert_eq!(fitting(Rule::Min), fitting(Rule::Max));
    assert_eq!(fitting(Rule::Sum), [0, 7, 8]);
    assert_eq!(fitting(Rule::Union), [2, 3, 6, 7]);
    assert_eq!(fitting(Rule::Append), [2, 6, 7]);
    assert_eq!(fitting(Rule::Replace), [2, 3, 4, 6, 7]);
    assert_eq!(fitting(Rule::Longest), [1, 7, 10]);
    assert_eq!(fitting(Rule::KeepExisting), all);
    assert_eq!(fitting(Rule::KeepIncoming), all);
    assert_eq!(fitting(Rule::Custom(0)), all);
    let circle = Plan { nodes: vec![Node::Nullable(0), Node::Union(vec![1, 9])], root: 0 };
    assert!(!rule_fits(&circle, 1, Rule::Max));
}
