//! What a volume holds: the file system that fits best, opened, or what it is recognised as.

use crate::fault::Fault;
use crate::fs::known::{Known, recognise};
use crate::fs::{self, FileSystem};
use crate::image::View;

/// A volume, looked at.
#[derive(Default)]
pub struct Look<'v> {
    /// The registered name of the file system that was opened, and it.
    pub opened: Option<(&'static str, Box<dyn FileSystem + 'v>)>,
    /// What the volume is, where it is none that is read.
    pub known: Option<Known>,
    /// File systems that could not be opened.
    pub remarks: Vec<String>,
    /// What else it looks like: the row's name, and why.
    pub also: Vec<(&'static str, String)>,
}

/// Opens the surest of the file systems that claim a volume.
pub fn look(volume: View<'_>) -> Look<'_> {
    let mut look = Look::default();
    for (row, claim) in fs::claims(volume) {
        if look.opened.is_some() {
            look.also.push((row.name, format!("also looks like {}: {}", row.name, claim.reason)));
            continue;
        }
        match (row.open)(volume) {
            Ok(file_system) => look.opened = Some((row.name, file_system)),
            Err(fault) => look.remarks.push(unopened(row.name, &fault)),
        }
    }
    if look.opened.is_none() {
        look.known = recognise(volume);
    }
    look
}

fn unopened(name: &str, fault: &Fault) -> String {
    format!("looks like {name}, but {fault}")
}
