use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;

use super::*;
use crate::disk::tests::hooked;
use crate::error::{Error, Result};
use crate::file::measure;

/// The members of a dump; each file contains the dump's name, so that a mix would show.
type Members = &'static [&'static str];

const ALL: Members = MEMORY.members;
const DATA: Members = &["memory.json"];
const LEDGER: Members = &["memory.json", "sources.json"];
const INDEXED: Members = &["memory.json", "faiss_index/index.faiss", "faiss_index/docstore.pkl"];

/// A folder in memory where there is one: thousands of syncs are quick there.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn dump(folder: &Path, name: &str, members: Members) -> Result<Option<Error>> {
    let mut writer = FolderWriter::open(folder, &MEMORY, &mut |_, _| true)?;
    for member in members {
        let mut staged = writer.stage(member)?;
        staged.draft().write(name.as_bytes())?;
        let written = staged.finish()?;
        assert_eq!(written.bytes, name.len() as u64);
    }
    writer.commit(name.as_bytes())
}

/// What a reader sees.
fn read(folder: &Path) -> BTreeMap<&'static str, String> {
    let mut seen = BTreeMap::new();
    if !folder.exists() {
        return seen;
    }
    let reader = FolderReader::open(folder, &MEMORY, &mut |_, _| true).unwrap();
    for &name in MEMORY.members.iter().chain([&MEMORY.manifest]) {
        if let Some(path) = reader.path(name).unwrap() {
            seen.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    seen
}

/// What a reader sees that can change nothing.
fn read_only(folder: &Path) -> BTreeMap<&'static str, String> {
    let error = || Err(io::Error::from_raw_os_error(libc::EROFS));
    hooked(move |_, _| error(), || read(folder))
}

fn expected(name: &str, members: Members) -> BTreeMap<&'static str, String> {
    let names = members.iter().copied().chain([MEMORY.manifest]);
    names.map(|member| (member, name.to_owned())).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    if !from.exists() {
        return;
    }
    fs::create_dir_all(to).unwrap();
    for name in files(from) {
        fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Runs `work` with step number `stop` failing and, if it is to die there, all that follow.
/// Returns also how many steps were begun.
fn stopped<T>(stop: usize, dies: bool, work: impl FnOnce() -> T) -> (T, usize) {
    let count = Rc::new(Cell::new(0));
    let steps = count.clone();
    let result = hooked(
        move |_, _| {
            let step = count.replace(count.get() + 1);
            let fails = step == stop || dies && step > stop;
            if fails { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
        },
        work,
    );
    (result, steps.get())
}

const CHANGES: [(Option<Members>, Members); 7] = [
    (None, ALL),
    (Some(DATA), ALL),
    (Some(ALL), DATA),
    (Some(ALL), ALL),
    (Some(LEDGER), INDEXED),
    (Some(INDEXED), LEDGER),
    (Some(ALL), &[]),
];

/// Every way to die in a dump, and to die again in the recovery, leaves the old or the new.
#[test]
fn dies_before_every_step() {
    let root = scratch();
    let [folder, again] = ["memory", "again"].map(|name| root.path().join(name));
    for (old, new) in CHANGES {
        for stop in 0.. {
            let _ = fs::remove_dir_all(&folder);
            let before = old.map_or_else(BTreeMap::new, |old| expected("old", old));
            if let Some(old) = old {
                dump(&folder, "old", old).unwrap();
                fs::write(folder.join("notes.txt"), "the user's own").unwrap();
            }
            let (result, steps) = stopped(stop, true, || dump(&folder, "new", new));
            let seen = read_only(&folder);
            assert!(seen == before || seen == expected("new", new), "{seen:?}");
            assert!(result.is_err() || seen == expected("new", new));

            for stop in 0.. {
                copy(&folder, &again);
                let (_, steps) = stopped(stop, true, || read(&again));
                assert_eq!(read_only(&again), seen);
                assert_eq!(read(&again), seen);
                if steps <= stop {
                    break;
                }
            }

            dump(&folder, "next", LEDGER).unwrap();
            assert_eq!(read(&folder), expected("next", LEDGER));
            let mut names = vec!["memory.json", "metadata.json", "sources.json"];
            if old.is_some() {
                names.insert(2, "notes.txt");
            }
            assert_eq!(files(&folder), names);
            if steps <= stop {
                assert!(matches!(result, Ok(None)));
                break;
            }
        }
    }
}

/// An error is an error: what was there stands, and nothing is left beside it.
#[test]
fn fails_at_every_step() {
    let root = scratch();
    let folder = root.path().join("memory");
    for (old, new) in CHANGES {
        for stop in 0.. {
            let _ = fs::remove_dir_all(&folder);
            if let Some(old) = old {
                dump(&folder, "old", old).unwrap();
            }
            let before = if old.is_some() { files(&folder) } else { Vec::new() };
            let (result, steps) = stopped(stop, false, || dump(&folder, "new", new));
            match result {
                Ok(_) => assert_eq!(read(&folder), expected("new", new)),
                Err(_) => {
                    assert_eq!(
                        read(&folder),
                        old.map_or_else(BTreeMap::new, |old| expected("old", old))
                    );
                    assert_eq!(if folder.exists() { files(&folder) } else { Vec::new() }, before);
                }
            }
            if steps <= stop {
                break;
            }
        }
    }
}

#[test]
fn an_uncommitted_dump_is_removed_by_a_reader() {
    let root = scratch();
    dump(root.path(), "old", DATA).unwrap();
    for name in [".memory.json.omem-new", ".sources.json.omem-gone", ".metadata.json.omem-tmp"] {
        fs::write(root.path().join(name), "stale").unwrap();
    }
    assert_eq!(read(root.path()), expected("old", DATA));
    assert_eq!(files(root.path()), ["memory.json", "metadata.json"]);
}

#[test]
fn links_are_followed() {
    let root = scratch();
    let [folder, far] = ["memory", "far"].map(|name| root.path().join(name));
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(far.join("index")).unwrap();
    symlink("../far/data", folder.join("memory.json")).unwrap();
    symlink(far.join("meta"), folder.join("metadata.json")).unwrap();
    symlink("../far/index", folder.join("faiss_index")).unwrap();
    for stop in 0.. {
        dump(&folder, "old", ALL).unwrap();
        let (_, steps) = stopped(stop, true, || dump(&folder, "new", INDEXED));
        let seen = read(&folder);
        assert!(seen == expected("old", ALL) || seen == expected("new", INDEXED), "{seen:?}");
        assert!(fs::symlink_metadata(folder.join("memory.json")).unwrap().is_symlink());
        if steps <= stop {
            break;
        }
    }
    assert_eq!(files(&far), ["data", "index/docstore.pkl", "index/index.faiss", "meta"]);
}

#[test]
fn a_member_that_cannot_be_replaced_is_an_error_before_anything_changes() {
    let root = scratch();
    dump(root.path(), "old", DATA).unwrap();
    fs::create_dir(root.path().join("sources.json")).unwrap();
    for members in [DATA, LEDGER] {
        assert!(dump(root.path(), "new", members).is_err());
        assert_eq!(files(root.path()), ["memory.json", "metadata.json"]);
        assert_eq!(fs::read_to_string(root.path().join("memory.json")).unwrap(), "old");
    }
}

#[test]
fn names_that_are_no_member_are_refused() {
    let root = scratch();
    let mut writer = FolderWriter::open(root.path(), &MEMORY, &mut |_, _| true).unwrap();
    for name in ["../memory.json", "metadata.json", "notes.txt"] {
        assert!(writer.stage(name).is_err());
    }
}

#[test]
fn a_member_that_was_not_ended_is_not_part_of_the_dump() {
    let root = scratch();
    let mut writer = FolderWriter::open(root.path(), &MEMORY, &mut |_, _| true).unwrap();
    writer.stage("memory.json").unwrap().draft().write(b"half").unwrap();
    writer.commit(b"new").unwrap();
    assert_eq!(read(root.path()), expected("new", &[]));
}

#[test]
fn an_index_folder_commits_with_its_docstore() {
    let root = scratch();
    let mut writer = FolderWriter::open(root.path(), &INDEX, &mut |_, _| true).unwrap();
    let mut staged = writer.stage("index.faiss").unwrap();
    staged.draft().write(b"vectors").unwrap();
    let written = staged.finish().unwrap();
    writer.commit(b"docstore").unwrap();
    assert_eq!(files(root.path()), ["docstore.pkl", "index.faiss"]);
    let found = measure(&root.path().join("index.faiss"), &mut |_, _| true).unwrap();
    assert_eq!(found, written);
}

#[test]
fn a_missing_folder_is_told_and_not_created() {
    let root = scratch();
    let [missing, file] = ["missing", "file"].map(|name| root.path().join(name));
    fs::write(&file, "").unwrap();
    for (folder, kind) in
        [(&missing, io::ErrorKind::NotFound), (&file, io::ErrorKind::NotADirectory)]
    {
        let error = FolderReader::open(folder, &MEMORY, &mut |_, _| true).unwrap_err();
        let Error::Io { path, source, .. } = error else { panic!("{error}") };
        assert_eq!((&path, source.kind()), (folder, kind));
    }
    assert!(!missing.exists());
}

/// Dumpers and readers at once: each reader sees one dump.
#[test]
fn readers_never_see_a_mix() {
    let root = scratch();
    let folder = root.path();
    dump(folder, "first", ALL).unwrap();
    std::thread::scope(|scope| {
        for (name, members) in [("left", ALL), ("right", LEDGER)] {
            scope.spawn(move || {
                for _ in 0..40 {
                    dump(folder, name, members).unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..150 {
                    let seen = read(folder);
                    let known = [("first", ALL), ("left", ALL), ("right", LEDGER)];
                    assert!(known.iter().any(|(name, members)| seen == expected(name, members)));
                }
            });
        }
    });
    assert!(files(folder).len() <= MEMORY.members.len() + 1);
}

/// What a power cut may lose is not seen by the tests above; this pins what is synced, and when.
#[test]
fn everything_is_synced_before_it_is_relied_on() {
    let root = scratch();
    let folder = root.path().join("memory");
    dump(&folder, "old", LEDGER).unwrap();
    let taken = Rc::new(std::cell::RefCell::new(Vec::new()));
    let steps = taken.clone();
    let seen = move |action, path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        steps.borrow_mut().push(format!("{action} {name}"));
        Ok(())
    };
    hooked(seen, || dump(&folder, "new", &["memory.json", "faiss_index/docstore.pkl"])).unwrap();
    let expected = "remove faiss_index\n\
        create .memory.json.omem-new\n\
        set the mode of .memory.json.omem-new\n\
        write .memory.json.omem-new\n\
        sync .memory.json.omem-new\n\
        create faiss_index\n\
        sync memory\n\
        create .docstore.pkl.omem-new\n\
        write .docstore.pkl.omem-new\n\
        sync .docstore.pkl.omem-new\n\
        create .sources.json.omem-gone\n\
        create .metadata.json.omem-tmp\n\
        set the mode of .metadata.json.omem-tmp\n\
        write .metadata.json.omem-tmp\n\
        sync .metadata.json.omem-tmp\n\
        sync memory\n\
        sync faiss_index\n\
        rename .metadata.json.omem-tmp\n\
        sync memory\n\
        rename .memory.json.omem-new\n\
        remove sources.json\n\
        rename .docstore.pkl.omem-new\n\
        sync memory\n\
        sync faiss_index\n\
        rename .metadata.json.omem-commit\n\
        sync memory\n\
        remove .sources.json.omem-gone\n\
        remove faiss_index";
    assert_eq!(taken.borrow().join("\n"), expected);
}
