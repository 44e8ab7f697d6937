//! The only `unsafe` of evidex: a file mapped read-only, and the SIGBUS of a page that cannot be read.
//!
//! # The promise
//! A mapped file is memory that the system fills from the disk when it is touched. Two things can go wrong:
//!
//! * **A page cannot be read** (a failing disk, a network share, a file that was cut short). The system then raises
//!   SIGBUS in the thread that touched it. The handler below looks whether the address lies in one of our maps; if so
//!   it puts a page of zeros in its place, records the page, and the thread goes on. Any other SIGBUS is passed on to
//!   whoever handled it before.
//! * **Somebody writes to the file meanwhile.** Then the bytes change under a `&[u8]`. Rust calls that undefined;
//!   what we do with such bytes is arithmetic, comparing and copying, each checked, so a change makes a wrong answer,
//!   not a wrong jump. The seal finds the change and the run ends in a loud error.
//!
//! The handler calls only what POSIX allows in one (`mmap`, `fstat`, atomics). Its state are two fixed tables of
//! atomics: the maps (never more than [`MAX_MAPS`]) and the ranges that failed. A file that was cut short fails once,
//! as one range. Where a disk has more bad places than the table has rows, the last row grows to cover them: more is
//! then called damaged than is, never less.

#![allow(unsafe_code, reason = "the one place that maps memory; the promise is at its top")]

use crate::extent::{Extent, ExtentSet};
use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

const MAX_MAPS: usize = 4096;
const MAX_FAILED: usize = 1 << 16;

/// Start, length and file descriptor of every live map; a start of 0 is a free slot.
static MAPS: [[AtomicUsize; 3]; MAX_MAPS] = [const { [const { AtomicUsize::new(0) }; 3] }; MAX_MAPS];
/// Slots of `MAPS` that were ever used.
static MAPS_USED: AtomicUsize = AtomicUsize::new(0);
/// First address and end of the ranges that could not be read.
static FAILED: [[AtomicUsize; 2]; MAX_FAILED] = [const { [const { AtomicUsize::new(0) }; 2] }; MAX_FAILED];
/// How many of `FAILED` are taken.
static FAILED_USED: AtomicUsize = AtomicUsize::new(0);
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(4096);
static INSTALL: Once = Once::new();

/// A file, mapped read-only.
pub struct Map {
    map: Mmap,
    slot: usize,
    /// Kept open for the handler, which asks for its size.
    file: File,
}

impl Map {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// Where the system refuses the map, or [`MAX_MAPS`] are open already.
    pub fn new(file: File, len: u64) -> io::Result<Self> {
        INSTALL.call_once(install);
        let len = usize::try_from(len).map_err(|_| io::Error::other("larger than the address space"))?;
        // SAFETY: the map is read-only and the promise at the top of this file says what a change of the file means.
        let map = unsafe { MmapOptions::new().len(len).map(&file)? };
        let slot = register(map.as_ptr() as usize, map.len(), &file)
            .ok_or_else(|| io::Error::other("too many files are mapped at once"))?;
        Ok(Self { map, slot, file })
    }

    /// The mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The ranges of the file that could not be read so far, merged.
    pub fn unreadable(&self) -> ExtentSet {
        let start = self.map.as_ptr() as usize;
        let here = Extent::new(start as u64, self.map.len() as u64);
        let taken = FAILED_USED.load(Ordering::Acquire).min(MAX_FAILED);
        // Where a file was cut short within a page, the rest of that page reads as zeros without a SIGBUS.
        let left = self.file.metadata().ok().filter(std::fs::Metadata::is_file).map_or(here.len, |meta| meta.len());
        let gone = Extent::between(left, here.len);
        FAILED
            .iter()
            .take(taken)
            .map(|[from, to]| (from.load(Ordering::Acquire) as u64, to.load(Ordering::Acquire) as u64))
            .map(|(from, to)| Extent::between(from, to).intersect(here))
            .filter(|failed| !failed.is_empty())
            .map(|failed| Extent::new(failed.start.saturating_sub(here.start), failed.len))
            .chain(std::iter::once(gone))
            .collect()
    }

    /// Gives the pages back: they leave this process but stay in the system's cache.
    pub fn release(&self) {
        // SAFETY: a shared, read-only file map: a dropped page is filled again from the file when it is touched.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let from = self.map.as_ptr() as usize;
        let to = from.saturating_add(self.map.len());
        if let Some([start, ..]) = MAPS.get(self.slot) {
            start.store(0, Ordering::Release);
        }
        // A later map may get the same addresses: forget what failed here.
        let taken = FAILED_USED.load(Ordering::Acquire).min(MAX_FAILED);
        for [start, end] in FAILED.iter().take(taken) {
            if (from..to).contains(&start.load(Ordering::Acquire)) {
                end.store(0, Ordering::Release);
            }
        }
    }
}

/// True where any page of any map could not be read so far.
pub fn any_failed() -> bool {
    FAILED_USED.load(Ordering::Acquire) > 0
}

/// The size of a file or of a block device.
///
/// # Errors
/// Where the system cannot tell.
pub fn size_of(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileTypeExt;
    let meta = file.metadata()?;
    if !meta.file_type().is_block_device() {
        return Ok(meta.len());
    }
    // SAFETY: lseek takes a descriptor that `file` keeps open, and touches no memory.
    let end = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_END) };
    u64::try_from(end).map_err(|_| io::Error::last_os_error())
}

fn register(start: usize, len: usize, file: &File) -> Option<usize> {
    let fd = usize::try_from(file.as_raw_fd()).ok()?;
    let slot = MAPS.iter().position(|[at, size, descriptor]| {
        // 1 marks a slot that is being filled: no map starts there.
        if at.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        size.store(len, Ordering::Release);
        descriptor.store(fd, Ordering::Release);
        at.store(start, Ordering::Release);
        true
    })?;
    MAPS_USED.fetch_max(slot.saturating_add(1), Ordering::AcqRel);
    Some(slot)
}

/// What handled SIGBUS before, called for addresses that are not ours.
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

fn install() {
    // SAFETY: sysconf and sigaction are called with valid constants and a zeroed, then filled structure; the handler
    // is `extern "C"`, and does only what is allowed in one.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE);
        PAGE_SIZE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before);
        PREVIOUS.store(before.sa_sigaction, Ordering::Release);
    }
}

/// Start and end of the live map that holds `address`, and its descriptor.
fn map_of(address: usize) -> Option<(usize, usize, libc::c_int)> {
    let used = MAPS_USED.load(Ordering::Acquire).min(MAX_MAPS);
    MAPS.iter().take(used).find_map(|[start, len, fd]| {
        let from = start.load(Ordering::Acquire);
        let to = from.saturating_add(len.load(Ordering::Acquire));
        let fd = libc::c_int::try_from(fd.load(Ordering::Acquire)).ok()?;
        (from > 1 && (from..to).contains(&address)).then_some((from, to, fd))
    })
}

/// Keeps a range that failed; allocates nothing, so that a signal handler may call it.
fn record(from: usize, to: usize) {
    let row = FAILED_USED.fetch_add(1, Ordering::AcqRel);
    if let Some([start, end]) = FAILED.get(row) {
        start.store(from, Ordering::Release);
        end.store(to, Ordering::Release);
    } else if let Some([start, end]) = FAILED.last() {
        start.fetch_min(from, Ordering::AcqRel);
        end.fetch_max(to, Ordering::AcqRel);
    }
}

/// Puts zeros in place of what cannot be read: one page or, of a file that was cut short, all that is gone.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system passes a valid `info`; `mmap` replaces whole pages inside a live map of ours with pages that
    // hold zeros and are as readable as they were; errno is kept as it was.
    unsafe {
        let errno = *libc::__errno_location();
        let address = (*info).si_addr() as usize;
        let size = PAGE_SIZE.load(Ordering::Relaxed);
        let page = address & !size.wrapping_sub(1);
        let replaced = map_of(address).is_some_and(|(start, map_end, fd)| {
            let mut stat: libc::stat = std::mem::zeroed();
            let regular = libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFREG;
            let file_end = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
            let gone = regular && page.wrapping_sub(start) >= file_end;
            let end = if gone { map_end } else { page.wrapping_add(size) };
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let len = end.wrapping_sub(page);
            let zeros = libc::mmap(page as *mut libc::c_void, len, libc::PROT_READ, flags, -1, 0);
            if zeros != libc::MAP_FAILED {
                record(page, end);
            }
            zeros != libc::MAP_FAILED
        });
        if !replaced {
            // Not ours, or not to be helped: as if we had never been here, the fault strikes again.
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = PREVIOUS.load(Ordering::Acquire);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_page_that_is_gone_reads_as_zeros_and_is_recorded() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![7u8; 1 << 20])?;
        let map = Map::new(file.try_clone()?, 1 << 20)?;
        assert_eq!(map.bytes().first(), Some(&7));
        file.set_len(1 << 19)?;
        let sum: u64 = map.bytes().iter().map(|b| u64::from(*b)).sum();
        assert_eq!(sum, 7 << 19);
        assert_eq!(map.unreadable().as_slice(), &[Extent::new(1 << 19, 1 << 19)]);
        Ok(())
    }

    #[test]
    fn what_is_gone_within_a_page_is_recorded_too() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[7u8; 4096])?;
        let map = Map::new(file.try_clone()?, 4096)?;
        file.set_len(100)?;
        assert_eq!(map.unreadable().as_slice(), &[Extent::new(100, 3996)]);
        Ok(())
    }

    #[test]
    fn released_pages_are_read_again() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"evidence")?;
        let map = Map::new(file, 8)?;
        map.release();
        assert_eq!(map.bytes(), b"evidence");
        Ok(())
    }
}
