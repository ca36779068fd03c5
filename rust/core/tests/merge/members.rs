//! Objects that meet in a union of models.

use omem_core::merge::{Lists, Merger, Strategy, Unobserved, merge_pair};
use omem_core::plan::{Field, Items, Model, Node, NodeId, Plan};

const INT: NodeId = 0;
const STR: NodeId = 1;
const STRS: NodeId = 2;
const OPAQUE: NodeId = 3;
const CAT: NodeId = 4;

fn model(fields: &[(&str, NodeId)], covered: bool) -> Node {
    let field = |(place, &(name, node)): (usize, &(&str, NodeId))| Field {
        name: name.to_owned(),
        prefix: format!("{}\"{name}\":", if place == 0 { '{' } else { ',' }).into_bytes().into(),
        node,
        default: None,
        rule: None,
    };
    Node::Model(Model { fields: fields.iter().enumerate().map(field).collect(), covered })
}

/// A record whose only field is one of these, merged with another; whether it is doubtful.
fn merged(
    members: Vec<Node>,
    union: fn(Vec<NodeId>) -> Node,
    old: &str,
    new: &str,
) -> (String, bool) {
    let mut nodes = vec![
        Node::Int { min: None, max: None },
        Node::Str { min: 0, max: usize::MAX },
        Node::List(Items { item: STR, min: 0, max: usize::MAX }),
        Node::Opaque,
    ];
    let ids: Vec<_> = (CAT..).take(members.len()).collect();
    nodes.extend(members);
    nodes.push(union(ids));
    let field = nodes.len() as NodeId - 1;
    nodes.push(model(&[("pet", field)], true));
    let plan = Plan { root: field + 1, nodes };
    let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
    let [old, new] = [old, new].map(|pet| format!("{{\"pet\":{pet}}}"));
    let (mut out, unobserved) = (Vec::new(), Unobserved::Ranges(&[]));
    let merged =
        merge_pair(&merger, old.as_bytes(), new.as_bytes(), unobserved, None, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(merged.changed, out != old, "{out}");
    (out[7..out.len() - 1].to_owned(), merged.doubtful)
}

const CAT_FIELDS: [(&str, NodeId); 2] = [("name", STR), ("toys", STRS)];

fn cat_or_dog() -> Vec<Node> {
    vec![model(&CAT_FIELDS, true), model(&[("name", STR), ("age", INT)], true)]
}

#[test]
fn values_of_one_model_are_merged_and_judged() {
    let merged = |old: &str, new: &str| merged(cat_or_dog(), Node::OneOf, old, new);
    let cat = |toy| format!(r#"{{"name":"a","toys":[{toy}]}}"#);
    assert_eq!(merged(&cat("\"x\""), &cat("\"y\"")), (cat(r#""x","y""#), true));
    assert_eq!(merged(&cat("\"x\""), &cat("\"x\"")), (cat("\"x\""), false));
}

#[test]
fn another_model_wins_whole() {
    let (cat, dog) = (r#"{"name":"a","toys":["x"]}"#, r#"{"name":"b","age":3}"#);
    for union in [Node::OneOf, Node::Union] {
        for (old, new) in [(cat, dog), (dog, cat), (cat, "null"), ("null", dog), ("1", dog)] {
            let expected = if new == "null" { old } else { new };
            assert_eq!(merged(cat_or_dog(), union, old, new), (expected.to_owned(), false));
        }
    }
}

#[test]
fn models_of_the_same_fields_are_told_apart_by_their_types() {
    let of = |node| model(&[("name", STR), ("size", node)], true);
    let members = || vec![of(INT), of(STR)];
    let (int, text) = (r#"{"name":"a","size":1}"#, r#"{"name":"b","size":"L"}"#);
    assert_eq!(merged(members(), Node::OneOf, int, text), (text.to_owned(), false));
    assert_eq!(merged(members(), Node::OneOf, text, int), (int.to_owned(), false));
    // A field that only Pydantic knows says nothing.
    let members = || vec![of(INT), of(OPAQUE)];
    assert_eq!(merged(members(), Node::OneOf, int, text).0, text);
    assert_eq!(merged(members(), Node::OneOf, text, int).0, r#"{"name":"a","size":1}"#);
}

#[test]
fn a_model_with_extra_fields_is_still_that_model() {
    let members = || vec![model(&CAT_FIELDS, false), model(&[("age", INT)], true)];
    let plain = r#"{"name":"a","toys":["x"]}"#;
    let extra = r#"{"name":"a","toys":["y"],"more":1}"#;
    let both = r#"{"name":"a","toys":["x","y"],"more":1}"#;
    let turned = r#"{"name":"a","toys":["y","x"],"more":1}"#;
    assert_eq!(merged(members(), Node::OneOf, plain, extra), (both.to_owned(), true));
    assert_eq!(merged(members(), Node::OneOf, extra, plain), (turned.to_owned(), true));
    assert_eq!(merged(members(), Node::OneOf, extra, r#"{"age":1}"#).0, r#"{"age":1}"#);
}

#[test]
fn a_model_and_a_dict_are_not_mixed() {
    let dict = |item| Node::Dict(Items { item, min: 0, max: usize::MAX });
    let cat = r#"{"name":"a","toys":["x"]}"#;
    for item in [INT, OPAQUE] {
        let members = || vec![model(&CAT_FIELDS, true), dict(item)];
        let merged = |old: &str, new: &str| merged(members(), Node::OneOf, old, new).0;
        assert_eq!(merged(cat, r#"{"x":1}"#), r#"{"x":1}"#);
        assert_eq!(merged(r#"{"x":1}"#, cat), cat);
        assert_eq!(merged(r#"{"x":1}"#, r#"{"y":2}"#), r#"{"x":1,"y":2}"#);
    }
    // Two dicts are one kind where one member takes both.
    let members = || vec![dict(INT), dict(STR)];
    assert_eq!(merged(members(), Node::OneOf, r#"{"a":1}"#, r#"{"b":"x"}"#).0, r#"{"b":"x"}"#);
    assert_eq!(merged(members(), Node::OneOf, "{}", r#"{"b":"x"}"#).0, r#"{"b":"x"}"#);
    let wide = || vec![dict(INT), dict(OPAQUE)];
    assert_eq!(merged(wide(), Node::OneOf, r#"{"a":1}"#, r#"{"b":"x"}"#).0, r#"{"a":1,"b":"x"}"#);
}

/// What a serializer of its own has written is merged key by key, and Pydantic is asked.
#[test]
fn what_nobody_can_tell_is_judged() {
    let merged = |old: &str, new: &str| merged(cat_or_dog(), Node::OneOf, old, new);
    let (cat, odd) = (r#"{"name":"a","toys":[]}"#, r#"{"name":"b"}"#);
    assert_eq!(merged(cat, odd), (r#"{"name":"b","toys":[]}"#.to_owned(), true));
    assert_eq!(merged(odd, cat), (r#"{"name":"a","toys":[]}"#.to_owned(), true));
}

#[test]
fn lists_of_two_types_are_not_mixed() {
    let list = |item| Node::List(Items { item, min: 0, max: usize::MAX });
    let merged = |old: &str, new: &str| merged(vec![list(INT), list(STR)], Node::OneOf, old, new).0;
    assert_eq!(merged("[1]", "[2]"), "[1,2]");
    assert_eq!(merged("[1]", r#"["a"]"#), r#"["a"]"#);
    assert_eq!(merged(r#"["a"]"#, "[1]"), "[1]");
    assert_eq!(merged("[]", r#"["a"]"#), r#"["a"]"#);
    assert_eq!(merged("[1]", "[]"), "[1]");
    // An empty list has nothing to add, whichever members take one.
    let some = Node::List(Items { item: INT, min: 1, max: usize::MAX });
    let members = vec![some, list(STR)];
    assert_eq!(self::merged(members, Node::OneOf, "[1]", "[]").0, "[1]");
    // What no member takes is united, and Pydantic judges.
    assert_eq!(merged("[1]", r#"[2,"a"]"#), r#"[1,2,"a"]"#);
}
