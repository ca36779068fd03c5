use std::io::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::key;
use crate::plan::{Field, Model, Node};

/// `k: str`, `v: Any`, `n: int | None`; the key is `k`, or a tuple of it.
fn plan() -> Plan {
    let field = |name: &str, node| Field {
        name: name.to_owned(),
        prefix: format!("{}\"{name}\":", if name == "k" { "{" } else { "," }).into_bytes().into(),
        node,
        default: None,
        rule: None,
    };
    let fields = vec![field("k", 1), field("v", 2), field("n", 4)];
    let nodes = vec![
        Node::Model(Model { fields, covered: true }),
        Node::Str { min: 0, max: usize::MAX },
        Node::Any,
        Node::Int { min: None, max: None },
        Node::Nullable(3),
    ];
    Plan { nodes, root: 0 }
}

fn load(text: &[u8], skip: bool) -> Result<Loaded> {
    load_with(text, skip, &KeyPlan::Path(vec![0]))
}

fn load_with(text: &[u8], skip: bool, key: &KeyPlan) -> Result<Loaded> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let loaded = read(file.path(), &plan(), Some(key), skip, &mut |_, _| true)?;
    assert_eq!(loaded.digest.bytes, text.len() as u64);
    assert_eq!(loaded.digest.checksum, xxhash_rust::xxh3::xxh3_64(text));
    Ok(loaded)
}

/// The records as text; doubtful ones with a question mark.
fn records(loaded: &Loaded) -> Vec<String> {
    let text = |span| String::from_utf8(loaded.batch.bytes(span).to_vec()).unwrap();
    let mut found: Vec<_> = loaded.batch.items.iter().map(|item| text(item.record)).collect();
    for item in loaded.doubtful.iter().map(|doubtful| doubtful.item) {
        found[item].push('?');
    }
    for (item, record) in loaded.batch.items.iter().zip(&found) {
        if !record.ends_with('?') {
            assert_eq!(item.hash, key::hash(loaded.batch.bytes(item.key)));
        }
    }
    found
}

fn fault(text: &[u8]) -> Fault {
    match load(text, false) {
        Err(Error::Fault { fault, .. }) => *fault,
        other => panic!("{other:?}"),
    }
}

/// A file in our layout that is longer than a few parts.
fn lines(count: usize) -> Vec<String> {
    let record = |number: usize| {
        let long = "ä".repeat(if number % 10 == 3 { 300 } else { number % 7 });
        format!("{{\"k\":\"{number}\",\"v\":[{number},\"{long}\"],\"n\":null}}")
    };
    (0..count).map(record).collect()
}

fn joined(lines: &[String]) -> Vec<u8> {
    format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()
}

#[test]
fn our_own_layout() {
    for count in [1, 2, 3, 50] {
        let lines = lines(count);
        let loaded = load(&joined(&lines), false).unwrap();
        assert_eq!(records(&loaded), lines);
        assert!(loaded.batch.chunks.len() > 1 || count < 5);
        for (number, item) in loaded.batch.items.iter().enumerate() {
            assert_eq!(loaded.batch.bytes(item.key), format!("\"{number}\"").as_bytes());
            assert!(item.key.within(item.record));
        }
    }
}

/// What [`store`] makes of a text.
fn load_store(text: &[u8], key: &KeyPlan) -> Result<std::result::Result<(Store, Digest), Loaded>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let mut told = (0, 0);
    let found = store(file.path(), &plan(), key, false, &mut |bytes, records| {
        assert!(told.0 <= bytes && told.1 <= records, "progress goes back");
        told = (bytes, records);
        true
    });
    if found.is_ok() {
        assert_eq!(told.0, text.len() as u64);
    }
    found
}

#[test]
fn our_own_layout_goes_straight_into_a_store() {
    let path = KeyPlan::Path(vec![0]);
    let tuple = KeyPlan::Tuple(vec![path.clone()]);
    for (count, key) in [(1, &path), (2, &path), (50, &path), (50, &tuple)] {
        let (lines, text) = (lines(count), joined(&lines(count)));
        let (store, digest) = load_store(&text, key).unwrap().unwrap();
        let found: Vec<_> = store.snapshot().unwrap().iter().map(|e| e.record.to_vec()).collect();
        assert_eq!(found, lines.iter().map(String::as_bytes).collect::<Vec<_>>());
        for (number, line) in lines.iter().enumerate() {
            let text = match key {
                KeyPlan::Tuple(_) => format!("[\"{number}\"]"),
                _ => format!("\"{number}\""),
            };
            assert_eq!(
                store.get(text.as_bytes(), key::hash(text.as_bytes())),
                Some(line.as_bytes())
            );
        }
        assert_eq!(digest.checksum, xxhash_rust::xxh3::xxh3_64(&text));
    }
}

#[test]
fn what_no_store_can_take_is_read_like_anything_else() {
    let path = KeyPlan::Path(vec![0]);
    let sound = lines(50);
    let spaced = format!("[ {} ]", sound.join(" ,"));
    let mut twice = sound.clone();
    twice.push(sound[3].clone());
    let mut doubtful = sound.clone();
    doubtful[40] = doubtful[40].replace("\"v\":", "\"w\":");
    for (text, count) in [(spaced.into_bytes(), 50), (joined(&twice), 51), (joined(&doubtful), 50)]
    {
        let loaded = load_store(&text, &path).unwrap().unwrap_err();
        assert_eq!(loaded.batch.items.len(), count);
        assert_eq!(records(&loaded), records(&load(&text, false).unwrap()));
    }
    let broken =
        String::from_utf8(joined(&sound)).unwrap().replace("\"n\":null}\n", "\"n\":nul}\n");
    let broken = broken.into_bytes();
    assert!(matches!(load_store(&broken, &path), Err(Error::Fault { .. })));
}

#[test]
fn chunks_are_laid_out_as_the_file_is() {
    let text = joined(&lines(50));
    let loaded = load(&text, false).unwrap();
    let chunks: Vec<&[u8]> = loaded.batch.chunks.iter().map(|chunk| &chunk[..]).collect();
    assert_eq!(chunks.concat(), text[2..text.len() - 3]);
}

#[test]
fn built_keys() {
    let lines = lines(50);
    let tuple = KeyPlan::Tuple(vec![KeyPlan::Path(vec![0])]);
    let indented = format!("[ {} ]", lines.join(" ,\n "));
    for text in [joined(&lines), indented.into_bytes()] {
        let loaded = load_with(&text, false, &tuple).unwrap();
        assert_eq!(records(&loaded), lines);
        for (number, item) in loaded.batch.items.iter().enumerate() {
            assert_eq!(loaded.batch.bytes(item.key), format!("[\"{number}\"]").as_bytes());
        }
    }
}

#[test]
fn without_a_key_plan_items_have_no_keys() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&joined(&lines(3))).unwrap();
    let loaded = read(file.path(), &plan(), None, false, &mut |_, _| true).unwrap();
    assert!(loaded.doubtful.is_empty());
    assert!(loaded.batch.items.iter().all(|item| item.key.len == 0));
}

#[test]
fn empty_arrays() {
    for text in ["[]\n", "[]", "[\n]\n", " [ ] "] {
        assert!(load(text.as_bytes(), false).unwrap().batch.items.is_empty());
    }
}

#[test]
fn doubtful_records_keep_their_place() {
    let mut lines = lines(40);
    lines[7] = "{\"k\":\"x\"}".into();
    lines[30] = "{\"k\":null,\"v\":1,\"n\":null}".into();
    let mut expected = lines.clone();
    expected[7].push('?');
    expected[30].push('?');
    let indented = format!("[\n\n{}]", lines.join(",\n").replace(":", " : "));
    for (text, offset) in [(joined(&lines), 0), (indented.into_bytes(), 1)] {
        let loaded = load(&text, false).unwrap();
        assert_eq!(records(&loaded), expected);
        for (doubtful, number) in loaded.doubtful.iter().zip([7, 30]) {
            assert_eq!((doubtful.item, doubtful.record), (number, number as u64));
            assert_eq!(doubtful.line, number as u64 + 2 + offset);
            let line = text.split(|&byte| byte == b'\n').nth(doubtful.line as usize - 1);
            assert!(text[doubtful.at as usize..].starts_with(line.unwrap()));
        }
    }
}

/// Faults are told alike, however the file is laid out.
#[test]
fn faults_name_record_line_byte_and_path() {
    let mut broken = lines(30);
    broken[20] = "{\"k\":\"x\",\"v\":[1,{\"a\":tru}],\"n\":null}".into();
    for text in [joined(&broken), format!("[ \n{} ]", broken.join(",\n")).into_bytes()] {
        let found = fault(&text);
        assert_eq!((found.record, found.line, found.place.as_str()), (20, 22, "$.v[1].a"));
        assert!(text[found.at as usize..].starts_with(b"tru}"));
    }
    for (text, what, at) in [
        ("", "the file is empty", 0),
        (" \n", "the file is empty", 2),
        ("{}", "a JSON array", 0),
        ("\u{feff}[]", "byte order mark", 0),
        ("[", "ends too early", 1),
        ("[{}", "ends too early", 3),
        ("[{},", "ends too early", 4),
        ("[{},]", "a value was expected", 4),
        ("[,{}]", "a value was expected", 1),
        ("[{} {}]", "a comma or ]", 4),
        ("[{}] []", "more text", 5),
        ("[1]", "an object was expected", 1),
        ("[[]]", "an object was expected", 1),
        ("[\n{\"k\":\"\\ud800\"}\n]\n", "", 0),
        ("[\n{},\n\n]\n", "a value was expected", 7),
    ] {
        let found = fault(text.as_bytes());
        assert!(found.what.contains(what), "{text}: {found}");
        assert!(found.at == at || what.is_empty(), "{text}: {found}");
    }
    let found = fault(b"[\n{\"k\":\"\xff\",\"v\":1,\"n\":null}\n]\n");
    assert_eq!((found.what.as_str(), found.at), ("not UTF-8", 8));
}

#[test]
fn deep_nesting_is_refused_at_once() {
    let open = "[{\"v\":".to_owned() + &"[".repeat(1_000_000);
    let work = move || fault(open.as_bytes());
    let small = std::thread::Builder::new().stack_size(512 << 10).spawn(work);
    assert!(small.unwrap().join().unwrap().what.contains("nested"));
}

#[test]
fn what_may_be_nested_loads_on_a_small_stack() {
    let mut plan = plan();
    let all = || crate::plan::Items { item: 2, min: 0, max: usize::MAX };
    for node in [Node::Any, Node::List(all()), Node::Dict(all())] {
        let (open, close) =
            if matches!(node, Node::Dict(_)) { ("{\"a\":", "}") } else { ("[", "]") };
        let inner = if matches!(node, Node::Dict(_)) { "{}" } else { "[]" };
        plan.nodes[2] = node;
        for (depth, loads) in [(197, true), (198, false)] {
            let nested = open.repeat(depth) + inner + &close.repeat(depth);
            let record = format!("{{\"k\":\"a\",\"v\":{nested},\"n\":null}}");
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&joined(&[record])).unwrap();
            let work = |plan: &Plan| read(file.path(), plan, None, false, &mut |_, _| true);
            std::thread::scope(|scope| {
                let small = std::thread::Builder::new().stack_size(512 << 10);
                let loaded = small.spawn_scoped(scope, || work(&plan)).unwrap().join().unwrap();
                match loaded {
                    Ok(loaded) => assert!(loads && loaded.doubtful.is_empty()),
                    Err(error) => {
                        assert!(!loads && error.to_string().contains("nested"), "{error}")
                    }
                }
            });
        }
    }
}

#[test]
fn a_file_that_was_cut_never_loads() {
    let lines = lines(40);
    let indented = format!("[\n  {}\n]", lines.join(",\n  "));
    for text in [&joined(&lines)[..], indented.as_bytes()] {
        let end = text.len() - usize::from(text.ends_with(b"\n"));
        for cut in 0..end {
            assert!(load(&text[..cut], false).is_err(), "{cut}");
        }
    }
}

#[test]
fn skip_leaves_out_what_is_broken() {
    let mut lines = lines(40);
    let expected = [&lines[..10], &lines[11..20], &lines[21..]].concat();
    lines[10] = "{\"k\":\"x\",\"v\":tru,\"n\":null}".into();
    lines[20] = "17".into();
    let text = joined(&lines);
    let loaded = load(&text, true).unwrap();
    assert_eq!(records(&loaded), expected);
    let [first, second] = &loaded.faults[..] else { panic!("{:?}", loaded.faults) };
    assert_eq!((first.record, first.line, first.place.as_str()), (10, 12, "$.v"));
    assert!(text[first.at as usize..].starts_with(b"tru"));
    assert_eq!((second.record, second.line, second.place.as_str()), (20, 22, "$"));
    assert!(text[second.at as usize..].starts_with(b"17,"));

    let mut bytes = joined(&self::lines(40));
    let place = bytes.windows(6).position(|window| window == b"\"k\":\"9").unwrap();
    bytes[place + 5] = 0xff;
    let loaded = load(&bytes, true).unwrap();
    assert_eq!((loaded.batch.items.len(), loaded.faults.len()), (39, 1));
    assert_eq!(loaded.faults[0].what, "not UTF-8");

    let loaded = load(&bytes[..bytes.len() - 10], true).unwrap();
    assert_eq!((loaded.batch.items.len(), loaded.faults.len()), (38, 2));
    assert_eq!(loaded.records, 40);

    let valid = b"[{\"k\":\"a\",\"v\":1,\"n\":null}, 3, {\"k\":\"\\ud800\",\"v\":1,\"n\":null}]";
    let loaded = load(valid, true).unwrap();
    assert_eq!((loaded.batch.items.len(), loaded.faults.len()), (1, 2));
    let loaded = load(b"[\n  {\"k\": tru}\n]\n", true).unwrap();
    assert_eq!((loaded.batch.items.len(), loaded.faults.len(), loaded.records), (0, 1, 1));
}

/// Our layout, and what an indenting writer makes of the same records.
fn layouts(lines: &[String]) -> [Vec<u8>; 2] {
    let indented: Vec<_> = lines
        .iter()
        .map(|line| line.replacen('{', "{\n    ", 1).replacen(",\"n\"", ",\n    \"n\"", 1))
        .collect();
    let indented = format!("[\n  {}\n]", indented.join(",\n  ").replace("null}", "null\n  }"));
    [joined(lines), indented.into_bytes()]
}

fn offset_of(text: &[u8], what: &str) -> usize {
    memchr::memmem::find(text, what.as_bytes()).unwrap()
}

#[test]
fn skip_goes_on_with_the_next_record_in_any_layout() {
    let lines = lines(40);
    let without = |gone: &[usize]| {
        let kept = lines.iter().enumerate().filter(|(number, _)| !gone.contains(number));
        kept.map(|(_, line)| line.clone()).collect::<Vec<_>>()
    };
    for text in layouts(&lines) {
        assert_eq!(records(&load(&text, true).unwrap()), lines);
        let [five, nine] = ["\"5\"", "\"9\""].map(|key| offset_of(&text, key));

        // A string that does not end, a list that does not end, and what is no text at all.
        let mut broken = text.clone();
        broken[five + 2] = b'x';
        let at = nine + offset_of(&text[nine..], "]");
        broken[at] = b',';
        let loaded = load(&broken, true).unwrap();
        assert_eq!(records(&loaded), without(&[5, 9]));
        assert_eq!(loaded.records, 40);
        let numbers: Vec<_> = loaded.faults.iter().map(|fault| fault.record).collect();
        assert_eq!(numbers, [5, 9]);

        let mut broken = text.clone();
        broken[five - 4..five + 4].fill(0);
        assert_eq!(records(&load(&broken, true).unwrap()), without(&[5]));

        // A comma that is missing costs no record, a bracket too many neither.
        for with in [b' ', b']'] {
            let mut broken = text.clone();
            let at = five + offset_of(&text[five..], "},");
            broken[at + 1] = with;
            let loaded = load(&broken, true).unwrap();
            assert_eq!(records(&loaded), lines);
            assert_eq!((loaded.faults.len(), loaded.records), (1, 40));
        }

        // Cut at every byte: what is whole before the cut is there.
        for cut in 2..text.len() - 2 {
            let loaded = load(&text[..cut], true).unwrap();
            let found = records(&loaded);
            assert_eq!(found, lines[..found.len()]);
            assert_eq!(loaded.faults.len(), 1, "{cut}");
            assert!(loaded.records <= found.len() as u64 + 1);
        }
    }
}

#[test]
fn skip_keeps_what_is_before_the_fault_where_records_share_a_line() {
    let text = format!("[{}]", lines(9).join(",")).replace("\"5\"", "\"5");
    let loaded = load(text.as_bytes(), true).unwrap();
    assert_eq!(records(&loaded), lines(5));
    assert_eq!((loaded.faults.len(), loaded.records), (1, 6));
}

#[test]
fn a_survey_counts_and_lists_but_keeps_nothing() {
    let mut lines = lines(40);
    lines[7] = "[]".into();
    lines[9].push('x');
    for text in layouts(&lines) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&text).unwrap();
        let found = survey(file.path(), &mut |_, _| true).unwrap();
        assert_eq!((found.records, found.batch.items.len(), found.doubtful.len()), (40, 0, 0));
        assert_eq!(found.faults.len(), 2, "{:?}", found.faults);
        assert_eq!(found.digest.checksum, xxhash_rust::xxh3::xxh3_64(&text));
    }
}

#[test]
fn a_callback_stops_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for text in [joined(&lines(50)), b"[ ]".to_vec()] {
        file.as_file().set_len(0).unwrap();
        std::fs::write(file.path(), text).unwrap();
        let result = read(file.path(), &plan(), None, false, &mut |_, _| false);
        assert!(matches!(result, Err(Error::Interrupted)));
    }
    file.flush().unwrap();
}

#[test]
fn missing_files_and_folders_are_errors() {
    for path in ["/no/such/file", "/"] {
        let result = read(Path::new(path), &plan(), None, false, &mut |_, _| true);
        assert!(matches!(result, Err(Error::Io { .. })));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Vec<Value>> {
    let member = (".*", value(), prop::option::of(any::<i64>()));
    let record = member.prop_map(|(k, v, n)| serde_json::json!({"k": k, "v": v, "n": n}));
    prop::collection::vec(record, 0..8)
}

/// A sparse file of any size is made in no time: nor may it take time, or memory, to refuse one.
#[test]
fn a_hole_of_any_size_is_a_fault_at_once() {
    for begins in ["[\n", "[\n{\"k\":\"a\",\"v\":1,\"n\":null},\n{\"k\":\"", "[ {\"k\":\""] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(begins.as_bytes()).unwrap();
        file.as_file().set_len(64 << 30).unwrap();
        file.as_file().write_all_at(b"\n]\n", (64 << 30) - 3).unwrap();
        let found = read(file.path(), &plan(), None, false, &mut |_, _| true);
        let Err(Error::Fault { fault, .. }) = found else { panic!("{found:?}") };
        assert_eq!(fault.at, begins.len() as u64);
    }
}

#[test]
fn what_is_passed_over_is_not_kept() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[b"[", &[0; 10_000][..], b"\n{}]"].concat()).unwrap();
    let source = Source::open(file.path()).unwrap();
    let mut report = |_, _| true;
    let mut window = window::Window::new(&source, &mut report);
    assert!(window.pass(b"\n{").unwrap());
    assert_eq!((window.offset(window.at), window.line(window.at)), (10_001, 1));
    assert!(window.bytes.len() < 500, "{} bytes", window.bytes.len());
    assert!(!window.pass(b"\n[").unwrap());
    assert_eq!(window.digest().bytes, 10_005);
}

/// Records of these lengths, each filled up with one character.
fn filled(lengths: &[usize], letter: &str) -> Vec<String> {
    let letter = Value::from(letter).to_string();
    let letter = &letter[1..letter.len() - 1];
    let record = |(number, length): (usize, &usize)| {
        let around = format!("{{\"k\":\"{number}\",\"v\":\"\",\"n\":null}}");
        let count = length.saturating_sub(around.len()) / letter.len();
        around.replace(":\"\"", &format!(":\"{}\"", letter.repeat(count)))
    };
    lengths.iter().enumerate().map(record).collect()
}

/// What a hostile hand puts into a file.
fn edit() -> impl Strategy<Value = Vec<u8>> {
    let texts: [&[u8]; 16] = [
        b"",
        b"\n",
        b"\r\n",
        b",\n",
        b",",
        b" ",
        b"\xff",
        b"\x00",
        b"\xe2\x82",
        b"\\",
        b"\"",
        b"{",
        b"}",
        b"]",
        b"\n]\n",
        b"{\"k\":\"x\"},\n",
    ];
    prop::sample::select(texts.map(<[u8]>::to_vec).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Against `serde_json`, in any layout.
    #[test]
    fn reads_what_serde_json_reads(document in document(), layout in 0..3) {
        let text = match layout {
            0 => serde_json::to_string(&document),
            1 => serde_json::to_string_pretty(&document),
            _ => Ok(format!("[\n{}\n]\n", document.iter().map(Value::to_string).collect::<Vec<_>>().join(",\n"))),
        }.unwrap();
        let loaded = load(text.as_bytes(), false).unwrap();
        let found: Vec<Value> = records(&loaded)
            .iter()
            .map(|record| serde_json::from_str(record.trim_end_matches('?')).unwrap())
            .collect();
        prop_assert_eq!(found, document);
    }

    /// What is read on several threads, in steps and parts, is what is read as one stream: also where
    /// lines are longer than a step or a part, or end with one, and whatever was done to the file.
    #[test]
    fn parts_are_read_as_a_stream_is(
        lengths in prop::collection::vec(0..140usize, 1..12),
        letter in prop::sample::select(vec!["a", "\"", "ä", "€", "😀"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3usize, edit()), 0..3),
        skip: bool,
    ) {
        let mut text = joined(&filled(&lengths, letter));
        for (at, gone, put) in edits {
            let at = at.index(text.len());
            text.splice(at..text.len().min(at + gone), put);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&text).unwrap();
        let (plan, key) = (plan(), KeyPlan::Path(vec![0]));
        let judge = Judge { plan: &plan, key: Some(&key) };
        let told = |loaded: Result<Loaded>| match loaded {
            Ok(loaded) => {
                let bytes = |span| loaded.batch.bytes(span).to_vec();
                let items: Vec<_> =
                    loaded.batch.items.iter().map(|item| (bytes(item.record), bytes(item.key))).collect();
                Ok((items, loaded.doubtful, loaded.records, format!("{:?}", loaded.faults), loaded.digest))
            }
            Err(error) => Err(error.to_string()),
        };
        let parts = all(&Source::open(file.path()).unwrap(), &judge, skip, &mut |_, _| true);
        let stream = array::read(&Source::open(file.path()).unwrap(), &judge, skip, &mut |_, _| true);
        prop_assert_eq!(told(parts), told(stream));
    }

    /// What was mutated is refused when `serde_json` refuses it, and never read otherwise.
    #[test]
    fn mutations(document in document(), pretty: bool, at: prop::sample::Index, byte: u8) {
        let mut text = if pretty {
            serde_json::to_vec_pretty(&document).unwrap()
        } else {
            joined(&document.iter().map(Value::to_string).collect::<Vec<_>>())
        };
        let at = at.index(text.len());
        text[at] = byte;
        let expected = serde_json::from_slice::<Vec<Value>>(&text);
        match load(&text, false) {
            Ok(loaded) => {
                let found = records(&loaded);
                let found: std::result::Result<Vec<Value>, _> =
                    found.iter().map(|record| serde_json::from_str(record.trim_end_matches('?'))).collect();
                // Of a repeated name serde_json takes the last value, as we do.
                prop_assert_eq!(found.unwrap(), expected.unwrap());
            }
            Err(Error::Fault { .. }) => {
                let records = expected.map(|found| found.iter().all(Value::is_object));
                prop_assert!(!records.unwrap_or(false));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
