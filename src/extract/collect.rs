//! What an extractor found, for the tests next to it.

use super::{Findings, Member};
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::text::{Place, Text};

#[derive(Default)]
pub(super) struct Collected {
    pub(super) text: Text,
    pub(super) longest: usize,
    pub(super) members: Vec<(String, Vec<u8>)>,
    pub(super) properties: Vec<(&'static str, String)>,
    pub(super) faults: Vec<Fault>,
    pub(super) encrypted: bool,
}

impl Findings for Collected {
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent> {
        self.longest = self.longest.max(piece.len());
        self.text.push(piece, place);
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, _: &mut Fuel) -> Result<(), Spent> {
        self.faults.extend(member.faults);
        self.encrypted |= member.encrypted;
        self.members.push((member.name, member.content.prefix(1 << 24).into_owned()));
        Ok(())
    }

    fn property(&mut self, name: &'static str, value: &str) {
        self.properties.push((name, value.to_owned()));
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    fn encrypted(&mut self) {
        self.encrypted = true;
    }
}
