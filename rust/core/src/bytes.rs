//! The memory of a chunk: a vector that grows, or pages straight from the system.

use std::ops::{Deref, DerefMut, Range};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

use crate::error::{Error, Result, reserve};

/// The size of a huge page, where the system has such.
pub(crate) const HUGE: usize = 2 << 20;

/// So much of a huge page may be left over: 3 %.
const SPARE: usize = 64 << 10;

/// A chunk of this size fills a huge page, up to a record that does not fit any more.
pub(crate) const FULL: usize = HUGE - SPARE / 4;

/// From this size on, [`Bytes::zeroed`] maps pages instead of asking the allocator.
const MAP: usize = HUGE - SPARE;

/// What pages large bytes are mapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// Huge ones, where the system has such: most of the time of reading into fresh memory goes to
    /// making pages ready, and this takes the least of it.
    Huge,
    /// Those of 4 kB, or whatever the system uses.
    Usual,
}

/// The bytes of a chunk.
#[derive(Debug)]
pub enum Bytes {
    /// Bytes that were appended one piece after the other.
    Grown(Vec<u8>),
    /// Pages of the system, for bytes that are read in one go.
    Mapped {
        /// The pages.
        pages: MmapMut,
        /// How many of their bytes are in use.
        len: usize,
    },
}

impl Bytes {
    /// This many zero bytes, to be overwritten in one go. Large ones are mapped, and their pages are
    /// best made [ready](Bytes::ready) before they are touched.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn zeroed(len: usize, pages: PageSize) -> Result<Self> {
        let failed = |_| Error::OutOfMemory { bytes: len };
        if len < MAP {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes: len })?;
            bytes.resize(len, 0);
            return Ok(Bytes::Grown(bytes));
        }
        if pages == PageSize::Usual {
            let pages = MmapMut::map_anon(len).map_err(failed)?;
            return Ok(Bytes::Mapped { pages, len });
        }
        // Linux aligns whole huge pages so that they can be huge.
        let whole = len.checked_next_multiple_of(HUGE).filter(|whole| whole - len <= SPARE);
        let pages = MmapMut::map_anon(whole.unwrap_or(len)).map_err(failed)?;
        // Advice alone: a system without huge pages refuses it, and the pages work all the same.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(Advice::HugePage);
        Ok(Bytes::Mapped { pages, len })
    }

    /// Makes the pages of a range ready in one go, which is faster than one by one as they are touched;
    /// an old kernel does the latter all the same.
    pub(crate) fn ready(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let Bytes::Mapped { pages, .. } = self {
            let _ = pages.advise_range(Advice::PopulateWrite, range.start, range.len());
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    /// Forgets the bytes from `len` on.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Bytes::Grown(bytes) => bytes.truncate(len),
            Bytes::Mapped { len: used, .. } => *used = len.min(*used),
        }
    }

    /// How many bytes of memory these take: spare room of a vector counts, pages that were
    /// never touched do not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self {
            Bytes::Grown(bytes) => bytes.capacity(),
            Bytes::Mapped { pages, len } => len.next_multiple_of(HUGE).min(pages.len()),
        }
    }

    /// The vector to append to.
    ///
    /// # Panics
    /// On mapped pages, which do not grow; whoever appends made the vector itself.
    pub(crate) fn grown(&mut self) -> &mut Vec<u8> {
        match self {
            Bytes::Grown(bytes) => bytes,
            Bytes::Mapped { .. } => unreachable!("mapped pages do not grow"),
        }
    }

    /// An empty vector with room for at least this many bytes.
    pub(crate) fn with_room(len: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        reserve(&mut bytes, len)?;
        Ok(Bytes::Grown(bytes))
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Grown(Vec::new())
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Self {
        Bytes::Grown(self.to_vec())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Grown(bytes) => bytes,
            Bytes::Mapped { pages, len } => &pages[..*len],
        }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Grown(bytes) => bytes,
            Bytes::Mapped { pages, len } => &mut pages[..*len],
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::Grown(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_mapped_bytes_behave_alike() -> Result<()> {
        for len in [0, 1, MAP - 1, MAP, MAP + 1, HUGE, HUGE + 1, 2 * HUGE - 1] {
            for pages in [PageSize::Huge, PageSize::Usual] {
                let mut bytes = Bytes::zeroed(len, pages)?;
                assert_eq!(matches!(bytes, Bytes::Mapped { .. }), len >= MAP);
                bytes.ready(0..len / 2);
                assert!(bytes.iter().all(|&byte| byte == 0));
                assert_eq!(bytes.len(), len);
                bytes.fill(7);
                bytes.truncate(len / 2);
                bytes.truncate(len);
                assert_eq!(bytes.len(), len / 2);
                assert!(bytes.iter().all(|&byte| byte == 7));
            }
        }
        Ok(())
    }

    #[test]
    fn a_size_that_cannot_be_had_is_an_error() {
        for pages in [PageSize::Huge, PageSize::Usual] {
            let found = Bytes::zeroed(usize::MAX / 4, pages);
            assert!(matches!(found, Err(Error::OutOfMemory { .. })));
        }
    }
}
