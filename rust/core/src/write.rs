//! The records of a store, streamed into a file.
//!
//! The layout is that of `memory.json`: a JSON array, one record per line, `[\n{…},\n{…}\n]\n`,
//! or `[]\n`. Since chunks are laid out like this already, what is written is mostly whole
//! chunks, straight from the arena.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::disk;
use crate::error::{Error, Progress, Result, reserve};
use crate::file::Draft;
use crate::store::{Run, Snapshot};

/// As much is written, hashed and reported at once. The cache holds it between hash and write.
const PIECE: usize = 1 << 20;

/// Runs below this size are gathered, others written where they stand.
const SHORT: usize = 64 << 10;

/// How often the disk is set to work while more is written. Writing 93 MB and one sync at the
/// end took 71 ms; with a sync of what is there every 8 MB 52 ms, every 32 MB 59 ms.
const BEHIND: u64 = 8 << 20;

/// Writes all records of a snapshot.
///
/// # Errors
/// [`Error::Io`], [`Error::OutOfMemory`], or
/// [`Error::Interrupted`] by `progress`; the draft is to be given up.
pub fn write_records(
    snapshot: &Snapshot,
    draft: &mut Draft,
    progress: &mut Progress,
) -> Result<()> {
    let (file, path) = (Arc::clone(draft.file()), draft.path().to_path_buf());
    thread::scope(|scope| {
        let (behind, written) = sync_channel::<()>(1);
        let sync = move || written.into_iter().try_for_each(|()| disk::sync(&file, &path));
        // Without that thread everything is synced at the end.
        let syncer = thread::Builder::new().spawn_scoped(scope, sync).ok();
        let mut writer =
            Writer { draft, progress, behind, buffer: Vec::new(), bytes: 0, records: 0 };
        let result = writer.write(snapshot.runs());
        drop(writer);
        match syncer.map(thread::ScopedJoinHandle::join) {
            // A failed sync is told to whoever synced first, and only once.
            Some(Ok(synced)) => result.and(synced),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => result,
        }
    })
}

struct Writer<'a, 'b> {
    draft: &'a mut Draft,
    progress: &'a mut Progress<'b>,
    behind: SyncSender<()>,
    buffer: Vec<u8>,
    bytes: u64,
    records: u64,
}

impl Writer<'_, '_> {
    fn write<'r>(&mut self, runs: impl Iterator<Item = Run<'r>>) -> Result<()> {
        reserve(&mut self.buffer, PIECE + SHORT)?;
        let mut before: &[u8] = b"[\n";
        for run in runs {
            self.buffer.extend_from_slice(before);
            before = b",\n";
            if run.bytes.len() < SHORT {
                self.buffer.extend_from_slice(run.bytes);
            } else {
                self.flush()?;
                run.bytes.chunks(PIECE).try_for_each(|piece| self.put(piece))?;
            }
            self.records += run.records as u64;
            if self.buffer.len() >= PIECE {
                self.flush()?;
            }
        }
        self.buffer.extend_from_slice(if before == b"[\n" { b"[]\n" } else { b"\n]\n" });
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.put(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn put(&mut self, piece: &[u8]) -> Result<()> {
        self.draft.write(piece)?;
        let before = self.bytes;
        self.bytes += piece.len() as u64;
        if before / BEHIND != self.bytes / BEHIND {
            // It does not matter if the thread is still busy, or has failed: that comes out.
            let _ = self.behind.try_send(());
        }
        if (self.progress)(self.bytes, self.records) { Ok(()) } else { Err(Error::Interrupted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Item, Span};
    use crate::folder::{FolderWriter, MEMORY};
    use crate::store::{Changes, Store};

    /// A store of these records; each is its own key.
    fn store<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Store {
        let mut batch = Batch::default();
        for (number, record) in records.into_iter().enumerate() {
            let (chunk, bytes) = batch.open_records().unwrap();
            let span = Span { chunk, start: bytes.len() as u32, len: record.len() as u32 };
            bytes.extend_from_slice(record);
            bytes.extend_from_slice(b",\n");
            batch.items.push(Item { record: span, key: span, hash: number as u64, unset: (0, 0) });
        }
        let mut store = Store::new();
        store.apply(Changes::from(batch)).unwrap();
        store
    }

    fn written(store: &Store, progress: &mut Progress) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = FolderWriter::open(dir.path(), &MEMORY, &mut |_, _| true)?;
        let mut file = folder.stage("memory.json")?;
        write_records(&store.snapshot()?, file.draft(), progress)?;
        let written = file.finish()?;
        folder.commit(b"{}")?;
        let bytes = std::fs::read(dir.path().join("memory.json")).unwrap();
        assert_eq!(written.bytes, bytes.len() as u64);
        assert_eq!(written.checksum, xxhash_rust::xxh3::xxh3_64(&bytes));
        Ok(bytes)
    }

    #[test]
    fn the_layout_is_one_record_per_line() {
        let written = |records: &[&[u8]]| {
            let bytes = written(&store(records.iter().copied()), &mut |_, _| true).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(written(&[]), "[]\n");
        assert_eq!(written(&[b"{\"a\":1}"]), "[\n{\"a\":1}\n]\n");
        assert_eq!(written(&[b"{\"a\":1}", b"{\"a\":2}"]), "[\n{\"a\":1},\n{\"a\":2}\n]\n");
    }

    /// Long and short runs, more than the disk is set to work for, and holes between them.
    #[test]
    fn any_mix_of_runs_is_written_in_order() {
        let record = |number: usize| {
            let len = [3, 70_000, 500, 3 << 20][number % 4 * usize::from(number % 60 < 4)];
            format!("{{\"k\":{number},\"v\":\"{}\"}}", "x".repeat(len)).into_bytes()
        };
        let records: Vec<_> = (0..400).map(record).collect();
        let mut store = store(records.iter().map(Vec::as_slice));
        let gone = |number: usize| number % 7 == 3;
        let removes = (0..400).filter(|&number| gone(number)).map(|number| number as u32).collect();
        store.apply(Changes { removes, ..Changes::default() }).unwrap();

        let mut seen = (0, 0);
        let bytes = written(&store, &mut |bytes, records| {
            assert!(bytes - seen.0 <= 4 << 20 && records >= seen.1);
            seen = (bytes, records);
            true
        });
        let live = records.iter().enumerate().filter(|(number, _)| !gone(*number));
        let live: Vec<_> = live.map(|(_, record)| record.as_slice()).collect();
        let expected = [b"[\n", live.join(&b",\n"[..]).as_slice(), b"\n]\n"].concat();
        assert!(bytes.unwrap() == expected);
        assert_eq!(seen, (expected.len() as u64, live.len() as u64));
    }

    #[test]
    fn a_callback_stops_it() {
        let store = store([&b"{}"[..]]);
        assert!(matches!(written(&store, &mut |_, _| false), Err(Error::Interrupted)));
    }
}
