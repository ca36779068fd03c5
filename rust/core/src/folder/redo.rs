//! The redo log: what is staged beside the files of a folder.

use std::path::{Path, PathBuf};

use super::Layout;
use crate::disk::{self, Directory};
use crate::error::Result;

/// Where a member stands and what is staged for it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) target: PathBuf,
    pub(super) new: PathBuf,
    pub(super) gone: PathBuf,
}

impl Place {
    pub(super) fn of(folder: &Path, layout: &Layout, member: &str) -> Result<Place> {
        let target = disk::resolve(&folder.join(member))?;
        let [new, gone] = ["new", "gone"].map(|end| layout.beside(&target, end));
        Ok(Place { target, new, gone })
    }
}

/// Where the manifest stands, before, at and after the commit.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) target: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) commit: PathBuf,
}

/// The redo log of a folder. Whoever acts on it holds the folder's lock alone.
#[derive(Debug)]
pub(super) struct Redo {
    pub(super) members: Vec<Place>,
    pub(super) manifest: Manifest,
    /// Every directory that files stand in, that of the manifest first.
    parents: Vec<PathBuf>,
    /// Sub-folders that go when they are empty.
    folders: Vec<PathBuf>,
}

impl Redo {
    pub(super) fn of(folder: &Path, layout: &Layout) -> Result<Redo> {
        let target = disk::resolve(&folder.join(layout.manifest))?;
        let [temporary, commit] = ["tmp", "commit"].map(|end| layout.beside(&target, end));
        let manifest = Manifest { target, temporary, commit };
        let mut members = Vec::new();
        let mut folders = Vec::new();
        let mut parents = vec![disk::parent(&manifest.target).to_path_buf()];
        for member in layout.members {
            let place = Place::of(folder, layout, member)?;
            let parent = disk::parent(&place.target).to_path_buf();
            if !parents.contains(&parent) && disk::exists(&parent)? {
                parents.push(parent);
            }
            if let Some((name, _)) = member.split_once('/')
                && !folders.contains(&folder.join(name))
            {
                folders.push(folder.join(name));
            }
            members.push(place);
        }
        Ok(Redo { members, manifest, parents, folders })
    }

    /// Whether an earlier dump left something behind.
    pub(super) fn is_needed(&self) -> Result<bool> {
        let Manifest { temporary, commit, .. } = &self.manifest;
        let staged = self.members.iter().flat_map(|place| [&place.new, &place.gone]);
        for path in staged.chain([temporary, commit]) {
            if disk::exists(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finishes a committed dump, removes an uncommitted one.
    pub(super) fn recover(&self) -> Result<()> {
        if disk::exists(&self.manifest.commit)? { self.finish(&self.open()?) } else { self.sweep() }
    }

    /// Step 4 of the protocol.
    pub(super) fn finish(&self, directories: &Directories) -> Result<()> {
        for place in &self.members {
            if disk::exists(&place.gone)? {
                disk::remove(&place.target)?;
            } else if disk::exists(&place.new)? {
                disk::rename(&place.new, &place.target)?;
            }
        }
        directories.sync()?;
        disk::rename(&self.manifest.commit, &self.manifest.target)?;
        directories.sync_manifest()?;
        self.sweep()
    }

    /// Removes what is staged and means nothing, since there is no commit file.
    pub(super) fn sweep(&self) -> Result<()> {
        for place in &self.members {
            disk::remove(&place.new)?;
            disk::remove(&place.gone)?;
        }
        disk::remove(&self.manifest.temporary)?;
        self.folders.iter().try_for_each(|folder| disk::remove_empty_directory(folder))
    }

    /// Opens the directories.
    pub(super) fn open(&self) -> Result<Directories> {
        self.parents
            .iter()
            .map(|path| Directory::open(path))
            .collect::<Result<_>>()
            .map(Directories)
    }
}

/// The directories of a folder, to be made durable.
pub(super) struct Directories(Vec<Directory>);

impl Directories {
    pub(super) fn sync(&self) -> Result<()> {
        self.0.iter().try_for_each(Directory::sync)
    }

    pub(super) fn sync_manifest(&self) -> Result<()> {
        self.0.iter().take(1).try_for_each(Directory::sync)
    }
}
