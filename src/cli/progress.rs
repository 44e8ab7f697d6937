//! What a person at the terminal sees while a case is indexed: bytes, rate, time left, items, the slowest item.

use super::Common;
use crate::case::ingest::Watch;
use crate::pipeline::Progress;
use crate::plan::Plan;
use crate::text::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Draws a bar on standard error, if that is a terminal.
pub(super) struct Bar {
    progress: Progress,
    bar: Mutex<Option<ProgressBar>>,
    start: Mutex<u64>,
    shown: bool,
    over: AtomicBool,
}

impl Bar {
    pub(super) fn new(common: &Common) -> Self {
        let shown = !common.quiet && !common.no_progress && std::io::stderr().is_terminal();
        let (bar, start) = (Mutex::new(None), Mutex::new(0));
        Self { progress: Progress::default(), bar, start, shown, over: AtomicBool::new(false) }
    }

    /// Redraws until [`Bar::stop`].
    pub(super) fn run(&self) {
        while !self.over.load(Ordering::Relaxed) {
            self.draw();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn draw(&self) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bar) = bar.as_ref() else { return };
        let start = *self.start.lock().unwrap_or_else(PoisonError::into_inner);
        let (took, slowest) = self.progress.slowest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let items = self.progress.items.load(Ordering::Relaxed);
        bar.set_message(format!("{items} items, slowest {:.1} s {}", took.as_secs_f32(), printable(&slowest)));
        bar.set_position(self.progress.bytes.load(Ordering::Relaxed).saturating_add(start));
    }
}

impl Watch for Bar {
    fn begin(&self, name: &str, _plan: &Plan, total: u64, done: u64) {
        if !self.shown {
            return;
        }
        let template = "{prefix} {bar:24} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left, {wide_msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style);
        bar.set_prefix(printable(name).into_owned());
        let already = self.progress.bytes.load(Ordering::Relaxed);
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = done.saturating_sub(already);
        bar.set_position(done);
        bar.reset_eta();
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn end(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}
