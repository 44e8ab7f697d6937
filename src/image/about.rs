//! What a container says of itself and of how its evidence was acquired, and what is wrong with it.

use crate::extent::Extent;
pub use crate::hash::Algorithm;

/// A hash of the evidence that its container carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// In lower-case hexadecimal.
    pub hex: String,
}

/// A CRC-32 that a container carries of a part of the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summed {
    /// What it is of: `partition table 4`.
    pub what: String,
    /// Its bytes, one stretch behind the other.
    pub extents: Vec<Extent>,
    /// It.
    pub crc32: u32,
}

/// What a container says beside the evidence. Nothing in it names a path of this machine: it is recorded in the case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The hashes that it carries.
    pub hashes: Vec<Stored>,
    /// The checksums that it carries of parts of it.
    pub sums: Vec<Summed>,
    /// How the evidence was acquired, and what the container is: name and value.
    pub facts: Vec<(String, String)>,
    /// What of the container is damaged or contradicts itself, a sentence each.
    pub faults: Vec<String>,
    /// What else one has to know to read the evidence rightly.
    pub remarks: Vec<String>,
}

/// Of evidence that is in no container.
pub static NOTHING: About =
    About { hashes: Vec::new(), sums: Vec::new(), facts: Vec::new(), faults: Vec::new(), remarks: Vec::new() };

/// The most sentences of one kind: a container that is damaged throughout does not fill a record.
const MOST: usize = 64;

impl About {
    /// Adds a fact, unless it says nothing.
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        let value: String = value.into();
        if !value.is_empty() {
            self.facts.push((name.to_owned(), value));
        }
    }

    /// Adds a hash of the evidence that `place` carries; one that is all zeros was not taken.
    pub fn hash(&mut self, algorithm: Algorithm, bytes: &[u8], place: &str) {
        let hex = crate::bytes::hex(bytes);
        if crate::bytes::all_zero(bytes) {
            return;
        }
        match self.hashes.iter().find(|stored| stored.algorithm == algorithm) {
            None => self.hashes.push(Stored { algorithm, hex }),
            Some(stored) if stored.hex != hex => {
                let name = algorithm.name().to_uppercase();
                self.fault(format!("{place}: carries another {name} than what was read before it"));
            }
            Some(_) => {}
        }
    }

    /// Adds a fault.
    pub fn fault(&mut self, what: impl Into<String>) {
        push(&mut self.faults, what.into());
    }

    /// Adds a remark.
    pub fn remark(&mut self, what: impl Into<String>) {
        push(&mut self.remarks, what.into());
    }

    /// Takes over what is said of an image that this one is based on.
    pub fn below(&mut self, parent: &Self) {
        parent.faults.iter().for_each(|what| self.fault(format!("the image below it: {what}")));
        parent.remarks.iter().for_each(|what| self.remark(format!("the image below it: {what}")));
    }
}

fn push(list: &mut Vec<String>, what: String) {
    match list.len() {
        n if n < MOST => list.push(what),
        MOST => list.push("and more".to_owned()),
        _ => {}
    }
}
