//! A bound on work, in steps and bytes instead of seconds: every machine stops at the same byte.

/// What a parser may still spend on one item.
#[derive(Debug)]
pub struct Fuel(u64);

/// The fuel is spent; what was found so far is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

impl Fuel {
    /// A tank of `units` steps or bytes.
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// Takes `units`; once the tank cannot give them it stays empty.
    ///
    /// # Errors
    /// [`Spent`] where less is left.
    pub fn burn(&mut self, units: u64) -> Result<(), Spent> {
        match self.0.checked_sub(units) {
            Some(rest) => self.0 = rest,
            None => {
                self.0 = 0;
                return Err(Spent);
            }
        }
        Ok(())
    }

    /// What is left.
    pub const fn left(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_tank_stays_empty() {
        let mut fuel = Fuel::new(10);
        assert_eq!(fuel.burn(4), Ok(()));
        assert_eq!(fuel.burn(7), Err(Spent));
        assert_eq!(fuel.left(), 0);
        assert_eq!(fuel.burn(1), Err(Spent));
    }
}
