//! Deleted files: the names that were found and the inodes that are gone, brought together, each with a verdict.
//!
//! Directories come first, since they lead to more names. A file that is gone is listed once with its content, under its
//! last name; other names of it are listed as such. What has no name at all comes last, below `/$OrphanFiles`.

use super::Ext;
use super::entry::set_target;
use super::history::Incarnation;
use super::inode::Inode;
use super::lost::{self, Reader, Sighting};
use super::map::{Mapper, Mapping};
use super::walk::{Lost, MAX_DEPTH, ORPHANS};
use super::xattr;
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fs::posix::kind_of_type as kind_of;
use crate::fs::{Certainty, Entry, EntryKind, Origin, Recovered};
use crate::fuel::Fuel;
use std::collections::{HashMap, HashSet, VecDeque};

/// Brings names and inodes together.
pub(super) struct Recovery<'a> {
    ext: &'a Ext<'a>,
    /// Files that are listed, by their row in the history, with their path.
    claimed: HashMap<usize, String>,
    directories: VecDeque<Lost>,
    files: Vec<Lost>,
    /// Directories of which no block is known: inode number and path.
    blockless: Vec<(u32, String)>,
    out: Vec<Entry>,
    fuel: Fuel,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(ext: &'a Ext<'a>) -> Self {
        Self {
            ext,
            claimed: HashMap::new(),
            directories: VecDeque::new(),
            files: Vec::new(),
            blockless: Vec::new(),
            out: Vec::new(),
            fuel: ext.tank(),
        }
    }

    /// All deleted entries.
    pub(super) fn run(mut self, lost: Vec<Lost>) -> Vec<Entry> {
        self.sort(lost);
        self.walk();
        self.orphans(true);
        self.walk();
        self.strays();
        self.walk();
        self.files();
        self.orphans(false);
        self.out
    }

    /// Parts directories from files. A name of unknown type is a directory where its inode was one.
    fn sort(&mut self, lost: Vec<Lost>) {
        for (path, sighting) in lost {
            let kind = match sighting.dirent.file_type {
                0 => self.meant(&sighting).and_then(|(.., inode)| inode.kind()),
                known => Some(kind_of(known)),
            };
            if kind == Some(EntryKind::Directory) {
                self.directories.push_back((path, sighting));
            } else {
                self.files.push((path, sighting));
            }
        }
    }

    fn meant(&self, sighting: &Sighting) -> Option<(usize, &'a Incarnation, Inode)> {
        let inode = |lost: &Incarnation| self.inode(lost);
        lost::meant(&self.ext.history, inode, sighting, |row| self.claimed.contains_key(&row))
    }

    fn inode(&self, lost: &Incarnation) -> Option<Inode> {
        Inode::parse(&self.ext.sb, &lost::raw(&self.ext.disk, &self.ext.sb, lost)?, lost.at)
    }

    fn walk(&mut self) {
        while let Some((above, sighting)) = self.directories.pop_front() {
            let path = format!("{above}/{}", sighting.dirent.name);
            match self.meant(&sighting) {
                Some((row, ..)) if self.claimed.contains_key(&row) => self.second_name(row, path, &sighting),
                Some((row, lost, inode)) => self.directory(row, lost, &inode, path),
                None if sighting.shadowed => {}
                None => {
                    self.blockless.push((sighting.dirent.inode, path.clone()));
                    let entry = self.name_only(path, &sighting);
                    self.out.push(entry);
                }
            }
        }
    }

    fn directory(&mut self, row: usize, lost: &Incarnation, inode: &Inode, path: String) {
        self.claimed.insert(row, path.clone());
        let (entry, mapping) = self.entry(path.clone(), lost, inode);
        self.out.push(entry);
        if mapping.runs.iter().all(|run| matches!(run, Run::Hole(_))) {
            self.blockless.push((lost.number, path));
        } else {
            self.look(lost.number, inode, &mapping, path);
        }
    }

    /// Takes the names that a deleted directory held.
    fn look(&mut self, number: u32, inode: &Inode, mapping: &Mapping, path: String) {
        if path.matches('/').count() >= MAX_DEPTH {
            return;
        }
        let ext = self.ext;
        let free = Some(&ext.groups.free);
        let reader = Reader { disk: &ext.disk, sb: &ext.sb, journal: &ext.journal, free };
        let listing = reader.read(number, inode, mapping, None);
        let live = listing.live.into_iter().map(|dirent| Sighting { dirent, seen: None, shadowed: false });
        // What its last block shows as live is the surest of all; an older copy may show the same.
        let mut seen = HashSet::new();
        let all = listing.lost.into_iter().map(|s| Sighting { shadowed: false, ..s }).chain(live);
        let new = all.filter(|s| seen.insert((s.dirent.name.clone(), s.dirent.inode)));
        self.sort(new.map(|sighting| (path.clone(), sighting)).collect());
    }

    /// Directories of which only the name and the number are known: their first block may stand in free space.
    fn strays(&mut self) {
        let blockless = std::mem::take(&mut self.blockless);
        let wanted: HashSet<u32> = blockless.iter().map(|(number, _)| *number).filter(|n| *n != 0).collect();
        if wanted.is_empty() {
            return;
        }
        let ext = self.ext;
        let reader = Reader { disk: &ext.disk, sb: &ext.sb, journal: &ext.journal, free: None };
        let found = reader.strays(&ext.groups.free, &wanted);
        for (number, path) in blockless {
            let (Some(extent), Some(inode)) = (found.get(&number), ext.inode(number)) else { continue };
            let mapping = Mapping { runs: vec![Run::Data(*extent)], wrong: None, blocks: 1 };
            let block = inode.block;
            self.look(number, &inode.with_map(block, extent.len), &mapping, path);
        }
    }

    /// Files: those whose last names are known best first, so that a file is listed under its last one.
    fn files(&mut self) {
        let mut files = std::mem::take(&mut self.files);
        let order = |s: &Sighting| (s.seen.is_none(), s.seen.map(|(_, last)| std::cmp::Reverse(last)));
        files.sort_by(|(a, one), (b, other)| order(one).cmp(&order(other)).then_with(|| a.cmp(b)));
        for (above, sighting) in files {
            let path = format!("{above}/{}", sighting.dirent.name);
            match self.meant(&sighting) {
                Some((row, ..)) if self.claimed.contains_key(&row) => self.second_name(row, path, &sighting),
                Some((row, lost, inode)) => {
                    self.claimed.insert(row, path.clone());
                    let (entry, _) = self.entry(path, lost, &inode);
                    self.out.push(entry);
                }
                None if sighting.shadowed => {}
                None => {
                    let entry = self.name_only(path, &sighting);
                    self.out.push(entry);
                }
            }
        }
    }

    /// Another name of a file that is listed already.
    fn second_name(&mut self, row: usize, path: String, sighting: &Sighting) {
        let Some(first) = self.claimed.get(&row).filter(|first| **first != path) else { return };
        let note = format!("another or an earlier name of {first}");
        let mut entry = self.name_only(path, sighting);
        entry.note = Some(note);
        self.out.push(entry);
    }

    /// What is gone and has no name; directories, or all others.
    fn orphans(&mut self, directories: bool) {
        let history = &self.ext.history;
        for (row, lost) in history.all() {
            if self.claimed.contains_key(&row) || self.ext.is_own(lost.number) {
                continue;
            }
            let Some(inode) = self.inode(lost).filter(|inode| !inode.is_attribute()) else { continue };
            if (inode.kind() == Some(EntryKind::Directory)) != directories {
                continue;
            }
            let number = lost.number;
            let path = if lost.in_table {
                format!("{ORPHANS}/OrphanFile-{number}")
            } else {
                format!("{ORPHANS}/OrphanFile-{number}-{:08x}", lost.generation)
            };
            if directories {
                self.directory(row, lost, &inode, path);
            } else {
                let (entry, _) = self.entry(path, lost, &inode);
                self.out.push(entry);
            }
            if let Some(entry) = self.out.last_mut() {
                entry.remark("its name is lost");
            }
        }
    }

    /// The entry of a file that is gone, and where its content lies.
    fn entry(&mut self, path: String, lost: &Incarnation, inode: &Inode) -> (Entry, Mapping) {
        let ext = self.ext;
        let older = lost.sequence.map(|sequence| (&ext.journal, sequence));
        let mapper = Mapper { disk: &ext.disk, sb: &ext.sb, free: &ext.groups.free, older };
        let mapping = mapper.map(inode, !lost.open, None, &mut self.fuel);
        let kind = inode.kind().unwrap_or(EntryKind::File);
        let mut entry = Entry::new(path, kind, lost.number.to_string(), lost.at);
        entry.allocated = false;
        entry.times = crate::fs::Times { dtime: lost.deleted, ..inode.times };
        let raw = ext.view.read_up_to(inode.at, ext.sb.inode_size);
        xattr::describe(ext, inode, &raw, &mut entry);
        entry.faults.extend(mapping.wrong.as_ref().map(|wrong| ext.fault(inode.at, wrong.clone())));
        if let Some(sequence) = lost.sequence {
            entry.origin = Origin::Journal;
            entry.remark(&format!("its inode is as transaction {sequence} of the journal had it"));
        }
        self.judge(&mut entry, lost, inode, &mapping);
        if !matches!(kind, EntryKind::Directory | EntryKind::Special) {
            entry.stream = Stream::plain(mapping.runs.clone(), inode.size);
            set_target(ext, &mut entry);
        }
        (entry, mapping)
    }

    /// How much of it is left, and why.
    fn judge(&self, entry: &mut Entry, lost: &Incarnation, inode: &Inode, mapping: &Mapping) {
        if lost.open && mapping.wrong.is_none() {
            entry.recovered = Some(Recovered::Intact);
            return entry.remark("its last name was taken while it was open; its blocks are still its own");
        }
        let share = mapping.free_share(&self.ext.groups.free);
        let sure = lost.sequence.is_none() || lost.exact;
        entry.recovered = Some(match share {
            _ if inode.is_inline() && inode.size > 0 => Recovered::Intact,
            None if inode.is_fast_symlink(&self.ext.sb) && inode.size > 0 => Recovered::Intact,
            None if mapping.wrong.is_some() => Recovered::Overwritten,
            None if inode.size == 0 && inode.links > 0 && sure => Recovered::Intact,
            None => Recovered::NameOnly,
            Some((0, _)) => Recovered::Overwritten,
            Some((free, total)) if free < total || mapping.wrong.is_some() => Recovered::Partial,
            Some(_) => {
                let losses = [self.short(inode, mapping), self.rewritten(lost, mapping)];
                let (losses, doubt): (Vec<String>, _) = (losses.into_iter().flatten().collect(), later(lost));
                losses.iter().chain(&doubt).for_each(|remark| entry.remark(remark));
                // An older state of it can be read; what lacks blocks or was written over is no state of it at all.
                if losses.is_empty() && doubt.is_some() {
                    entry.certainty = vec![(inode.size, Certainty::Inferred)];
                }
                if losses.is_empty() && doubt.is_none() { Recovered::Intact } else { Recovered::Partial }
            }
        });
    }

    /// Fewer blocks are named than the inode says it has.
    fn short(&self, inode: &Inode, mapping: &Mapping) -> Option<String> {
        let attributes = u64::from(inode.file_acl != 0);
        let known = mapping.blocks.saturating_add(attributes);
        let missing = inode.allocated(&self.ext.sb).saturating_sub(known);
        (missing > 0 && !self.ext.sb.has_clusters()).then(|| format!("{missing} of its blocks are named nowhere"))
    }

    /// The journal wrote metadata over its blocks after it was deleted.
    fn rewritten(&self, lost: &Incarnation, mapping: &Mapping) -> Option<String> {
        let size = self.ext.sb.block_size.max(1);
        let after = |extent: &Extent| {
            let from = extent.start.checked_div(size).unwrap_or(0);
            let to = extent.end().checked_next_multiple_of(size).and_then(|end| end.checked_div(size)).unwrap_or(from);
            self.ext.journal.among(from, to).iter().any(|copy| copy.sequence > lost.gone)
        };
        let data = mapping.runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(extent) } else { None });
        data.into_iter().any(after).then(|| "metadata was written over some of its blocks later".to_owned())
    }

    fn name_only(&self, path: String, sighting: &Sighting) -> Entry {
        let dirent = &sighting.dirent;
        let mut entry = Entry::new(path, kind_of(dirent.file_type), dirent.inode.to_string(), dirent.at);
        entry.allocated = false;
        entry.recovered = Some(Recovered::NameOnly);
        entry.origin = if sighting.seen.is_some() { Origin::Journal } else { Origin::Table };
        let used = self.ext.groups.inode_used(&self.ext.sb, dirent.inode);
        let note = match (dirent.inode, used) {
            (0, _) => "only its name is left",
            (_, Some(true)) => "only its name is left: its inode belongs to another name now, or the file was renamed",
            _ => "only its name is left: its inode holds nothing of it",
        };
        entry.note = Some(note.to_owned());
        entry
    }
}

/// The copy may not be the last state of the file.
fn later(lost: &Incarnation) -> Option<String> {
    match lost.sequence {
        Some(_) if lost.emptied => {
            Some("it was emptied before it was deleted: this is what it held until then".to_owned())
        }
        Some(_) if !lost.exact => Some("transactions between this state and its deletion are missing".to_owned()),
        _ => None,
    }
}
