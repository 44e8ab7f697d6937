//! The line: a feeder, workers and a writer; the only threads of the core.
//!
//! The feeder hands out units in their order, each with a lease on memory. Workers are pure. The writer (the calling
//! thread's `take`) gets the results in the order of the units, so that what is written is at every moment a prefix of
//! the whole. Only the feeder waits for memory, and the unit that the writer waits for always has its lease: nothing
//! can deadlock.

pub mod lease;
pub mod sweep;

use crate::image::Image;
use crate::plan::{Task, Unit};
use crate::work::{Done, Worker};
use crossbeam_channel::{Receiver, Sender, unbounded};
use lease::{Budget, Lease};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Mapped pages are given back after so many bytes were read.
const RELEASE_EVERY: u64 = 96 << 20;
/// Stack of a worker: parsers recurse into what they distrust.
const STACK: usize = 32 << 20;

/// How the line is run; changes no result.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// Workers.
    pub threads: usize,
    /// Bytes that units in flight may hold.
    pub memory: u64,
}

/// A unit's results, and the memory that they hold.
pub struct Result {
    /// Its number.
    pub unit: usize,
    /// What it gave.
    pub done: Done,
    /// Bytes of the evidence that it read.
    pub bytes: u64,
    /// Released when the last of its documents is indexed.
    pub lease: Lease,
}

/// What an onlooker may know while the line runs.
#[derive(Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Items found.
    pub items: AtomicU64,
    /// The unit that took longest so far: its time and what it was.
    pub slowest: Mutex<(Duration, String)>,
}

impl Progress {
    fn note(&self, result: &Result, took: Duration) {
        self.bytes.fetch_add(result.bytes, Ordering::Relaxed);
        self.items.fetch_add(result.done.items.len() as u64, Ordering::Relaxed);
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        if took > slowest.0 {
            *slowest = (took, result.done.items.first().map(|i| i.path.clone()).unwrap_or_default());
        }
    }
}

/// Runs `units[first..]`; calls `take` with each result, in order. Stops at the first error of `take`.
///
/// # Errors
/// What `take` returned, or that the threads could not be started.
pub fn run<E: From<std::io::Error> + Send>(
    image: &dyn Image,
    worker: &Worker<'_>,
    units: &[Unit],
    first: usize,
    power: Power,
    progress: &Progress,
    take: impl FnMut(Result) -> std::result::Result<(), E> + Send,
) -> std::result::Result<(), E> {
    let pool = workers(power.threads)?;
    let budget = Budget::new(power.memory);
    let stop = AtomicBool::new(false);
    let released = AtomicU64::new(0);
    let (send, receive) = unbounded();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(receive, first, take, &stop));
        feed(&pool, units, first, &budget, &stop, &send, &|number, unit, lease| {
            let start = Instant::now();
            let done = worker.run(unit);
            let mut result = Result { unit: number, done, bytes: unit.bytes(), lease };
            result.lease.shrink(held(&result.done));
            progress.note(&result, start.elapsed());
            if released.fetch_add(result.bytes, Ordering::Relaxed).saturating_add(result.bytes) > RELEASE_EVERY {
                released.store(0, Ordering::Relaxed);
                image.release();
            }
            result
        });
        drop(send);
        writer.join().unwrap_or_else(|_| Err(std::io::Error::other("the writer failed").into()))
    })
}

fn workers(threads: usize) -> std::io::Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).stack_size(STACK);
    pool.thread_name(|i| format!("worker {i}")).build().map_err(std::io::Error::other)
}

/// Does `work` with so many workers: what it does side by side is done by them, and by no more.
///
/// # Errors
/// Where the threads cannot be started.
pub fn on_workers<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    Ok(workers(threads)?.install(work))
}

/// Does `aside` on a thread of its own while `line` runs on this one.
pub fn beside<A: Send, B>(aside: impl FnOnce() -> A + Send, line: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let aside = scope.spawn(aside);
        let line = line();
        match aside.join() {
            Ok(aside) => (aside, line),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Hands units to the pool, each when memory allows.
fn feed(
    pool: &rayon::ThreadPool,
    units: &[Unit],
    first: usize,
    budget: &Budget,
    stop: &AtomicBool,
    send: &Sender<Result>,
    work: &(dyn Fn(usize, &Unit, Lease) -> Result + Sync),
) {
    pool.in_place_scope_fifo(|scope| {
        for (number, unit) in units.iter().enumerate().skip(first) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let lease = budget.lease(cost(unit));
            let send = send.clone();
            scope.spawn_fifo(move |_| {
                if !stop.load(Ordering::Relaxed) {
                    // The writer is gone only when it has failed, and then says so itself.
                    let _ = send.send(work(number, unit, lease));
                }
            });
        }
    });
}

/// Puts results back in order.
fn write<E>(
    receive: Receiver<Result>,
    first: usize,
    mut take: impl FnMut(Result) -> std::result::Result<(), E>,
    stop: &AtomicBool,
) -> std::result::Result<(), E> {
    let mut next = first;
    let mut early = BTreeMap::new();
    for result in receive {
        early.insert(result.unit, result);
        while let Some(result) = early.remove(&next) {
            if let Err(error) = take(result) {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            next = next.saturating_add(1);
        }
    }
    Ok(())
}

/// The heap that a unit may need, in bytes: its text and what its members decode to.
fn cost(unit: &Unit) -> u64 {
    match &unit.task {
        Task::Entry(entry) => entry.stream.size.saturating_mul(4).clamp(64 << 10, 192 << 20),
        Task::Window(_) | Task::Anomaly(_) => 64 << 20,
    }
}

/// What its result holds.
fn held(done: &Done) -> u64 {
    let text: usize = done.texts.iter().map(|t| t.body.len()).sum();
    let items = done.items.len().saturating_mul(2048);
    text.saturating_add(items) as u64
}
