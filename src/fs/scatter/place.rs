//! Which of several files that were being written at once took which free cluster: a search over the orders in which
//! an allocator that always takes the next free cluster can have served them.
//!
//! Clusters are counted by their rank among the free ones. Where each file begins is fixed; between two such places the
//! files that are not complete yet share what is free. These orders are tried in each gap: one of them is completed
//! before the others go on (nested files), or all take turns (braided files). A file whose last cluster holds zeros from
//! its end on, and one that is complete before those that were written longer, speak for an order; the few best go on.

use crate::fuel::Fuel;

/// Orders that are kept at a time.
const BEAM: usize = 8;
/// Pieces that are remembered for all of them; beyond that the best one is taken as it is.
const MAX_NODES: usize = 1 << 20;
/// With more files at once the last one that began is served first, and nothing else is tried.
const MANY: usize = 32;

/// How the bytes of a cluster fit a file that ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Bytes up to its end, zeros from there to the end of the sector.
    Exact,
    /// Nothing speaks for it or against it.
    Possible,
    /// Bytes behind its end, where the system writes zeros.
    Not,
}

/// Clusters that are known to be taken, and the file that begins with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) id: usize,
    /// Rank of the first cluster, and how many are known.
    pub(super) at: u64,
    pub(super) len: u64,
    /// How many more it had.
    pub(super) need: u64,
    /// Bytes in its last cluster.
    pub(super) tail: u64,
    /// When it was created, and last written (not before, not after), if that is known.
    pub(super) begun: Option<i64>,
    pub(super) ended: Option<(i64, i64)>,
}

/// A stretch that was given to a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) id: usize,
    pub(super) at: u64,
    pub(super) len: u64,
    /// Nothing else could have taken it.
    pub(super) forced: bool,
    /// The file's bytes end in its last cluster.
    pub(super) exact: bool,
}

/// The best order.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) pieces: Vec<Piece>,
    /// Files that were complete before others began where they are taken to go on: those overwrote them.
    pub(super) overrun: Vec<usize>,
    /// No other order is as good.
    pub(super) unique: bool,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    anchor: usize,
    need: u64,
}

#[derive(Clone, Debug)]
struct State {
    active: Vec<Active>,
    /// Row of the last piece in the arena.
    node: Option<usize>,
    cost: u64,
    exact: u64,
    mark: u64,
}

/// A piece, or the end of a file that was overrun, with what came before it.
struct Node {
    before: Option<usize>,
    piece: Piece,
}

struct Search<'a, F> {
    anchors: &'a [Anchor],
    fit: F,
    nodes: Vec<Node>,
    placed: Placed,
    fuel: &'a mut Fuel,
}

/// Shares the free clusters up to rank `total` out among the files of `anchors`, which are in order.
pub(super) fn place(anchors: &[Anchor], total: u64, fit: impl FnMut(u64, u64) -> Fit, fuel: &mut Fuel) -> Placed {
    let placed = Placed { unique: true, ..Placed::default() };
    let mut search = Search { anchors, fit, nodes: Vec::new(), placed, fuel };
    let start = State { active: Vec::new(), node: None, cost: 0, exact: 0, mark: 0 };
    let (mut states, mut edge) = (vec![start], 0u64);
    for (row, anchor) in anchors.iter().enumerate() {
        edge = edge.max(anchor.at.saturating_add(anchor.len));
        let next = anchors.get(row.saturating_add(1)).map_or(total, |next| next.at);
        let gap = (edge, next.saturating_sub(edge));
        states = states.into_iter().flat_map(|state| search.pass(state, row, gap)).collect();
        best_first(&mut states);
        edge = edge.max(next);
        if search.nodes.len() > MAX_NODES {
            search.placed.unique = false;
            states.truncate(1);
            search.commit(&mut states);
        }
    }
    search.commit(&mut states);
    search.placed
}

/// A telescoping sum over the piece's clusters, the same however they are cut into pieces: states whose sums agree are the same.
fn mark(piece: Piece) -> u64 {
    let steps = |n: u64| n.wrapping_mul(n).wrapping_mul(n) ^ n.rotate_left(17);
    let own = (piece.id as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    own.wrapping_mul(steps(piece.at.saturating_add(piece.len)).wrapping_sub(steps(piece.at)))
}

/// Keeps the best states, each once.
fn best_first(states: &mut Vec<State>) {
    states.sort_by_key(|state| (state.cost, std::cmp::Reverse(state.exact)));
    let mut marks = Vec::with_capacity(states.len());
    states.retain(|state| {
        let new = !marks.contains(&state.mark);
        marks.push(state.mark);
        new
    });
    states.truncate(BEAM);
}

impl<F: FnMut(u64, u64) -> Fit> Search<'_, F> {
    fn anchor(&self, row: usize) -> Option<Anchor> {
        self.anchors.get(row).copied()
    }

    /// Takes a file that begins, and shares out the gap behind it.
    fn pass(&mut self, mut state: State, row: usize, gap: (u64, u64)) -> Vec<State> {
        let Some(anchor) = self.anchor(row) else { return vec![state] };
        self.close(&mut state, anchor);
        if anchor.need > 0 {
            state.active.push(Active { anchor: row, need: anchor.need });
        }
        match state.active.len() {
            _ if gap.1 == 0 => vec![state],
            0 => vec![state],
            1 => vec![self.in_order(state, &[0], gap, true)],
            len if len > MANY => vec![self.last_first(state, gap)],
            _ => self.orders(&state, row, gap),
        }
    }

    /// Files that were complete before `next` began do not go on behind its first cluster.
    fn close(&mut self, state: &mut State, next: Anchor) {
        let Some(begun) = next.begun else { return };
        if state.active.len() > MANY {
            return;
        }
        let over = |active: &Active| self.anchor(active.anchor)?.ended.map(|(_, late)| late < begun);
        let (closed, open): (Vec<_>, Vec<_>) = state.active.iter().partition(|active| over(active) == Some(true));
        state.active = open;
        for active in closed {
            state.cost = state.cost.saturating_add(6);
            self.push(state, Piece { id: active.anchor, at: 0, len: 0, forced: false, exact: false });
        }
    }

    fn push(&mut self, state: &mut State, mut piece: Piece) {
        piece.id = self.anchor(piece.id).map_or(usize::MAX, |anchor| anchor.id);
        state.mark = state.mark.wrapping_add(mark(piece));
        self.nodes.push(Node { before: state.node, piece });
        state.node = self.nodes.len().checked_sub(1);
    }

    /// Every order that is tried, where several files wait.
    fn orders(&mut self, state: &State, row: usize, gap: (u64, u64)) -> Vec<State> {
        let last = state.active.len().saturating_sub(1);
        let early = (0..=last).min_by_key(|at| self.ended(state, *at).map_or(i64::MAX, |(_, late)| late));
        let mut leads = vec![last, last.saturating_sub(1), 0];
        leads.extend(early);
        let mut found = Vec::new();
        for (at, lead) in leads.iter().enumerate() {
            if !leads.iter().take(at).any(|other| other == lead) {
                let order: Vec<_> = std::iter::once(*lead).chain((0..=last).rev().filter(|at| at != lead)).collect();
                found.push(self.in_order(state.clone(), &order, gap, false));
            }
        }
        // What lies between the last two beginnings is as much as was written in one go.
        let above = row.checked_sub(1).and_then(|row| self.anchor(row));
        let step = self.anchor(row).zip(above).map_or(1, |(one, above)| one.at.saturating_sub(above.at)).max(1);
        let turns: Vec<_> = [step, 1].iter().filter_map(|turn| self.in_turns(state.clone(), row, *turn, gap)).collect();
        // Files of one length that were begun together were most likely written together.
        let length = |row: usize| self.anchor(row).map(|anchor| anchor.len.saturating_add(anchor.need));
        let alike = row.checked_sub(1).is_some_and(|above| length(above) == length(row));
        if alike { turns.into_iter().chain(found).collect() } else { found.into_iter().chain(turns).collect() }
    }

    fn ended(&self, state: &State, at: usize) -> Option<(i64, i64)> {
        self.anchor(state.active.get(at)?.anchor)?.ended
    }

    /// One after the other.
    fn in_order(&mut self, mut state: State, order: &[usize], gap: (u64, u64), forced: bool) -> State {
        let (mut at, end) = (gap.0, gap.0.saturating_add(gap.1));
        for active in order {
            at = self.give(&mut state, *active, at, end.saturating_sub(at), forced);
        }
        state.active.retain(|active| active.need > 0);
        state
    }

    /// The last one that began first, without a look at the others.
    fn last_first(&mut self, mut state: State, gap: (u64, u64)) -> State {
        let (mut at, end) = (gap.0, gap.0.saturating_add(gap.1));
        while at < end
            && let Some(last) = state.active.len().checked_sub(1)
        {
            at = self.give(&mut state, last, at, end.saturating_sub(at), false);
            state.active.pop_if(|active| active.need == 0);
        }
        state
    }

    /// In turns of `step` clusters: the file that began last completes its first one, then the first file follows.
    fn in_turns(&mut self, mut state: State, row: usize, step: u64, gap: (u64, u64)) -> Option<State> {
        let (mut at, end) = (gap.0, gap.0.saturating_add(gap.1));
        let begun = self.anchor(row)?;
        let last = state.active.len().checked_sub(1)?;
        if state.active.get(last)?.anchor == row {
            let rest = step.saturating_sub(begun.len).min(end.saturating_sub(at));
            at = self.give(&mut state, last, at, rest, false);
        }
        let wanted = state.active.iter().fold(0u64, |sum, active| sum.saturating_add(active.need));
        self.fuel.burn(wanted.min(gap.1)).ok()?;
        while at < end && state.active.iter().any(|active| active.need > 0) {
            for active in 0..state.active.len() {
                at = self.give(&mut state, active, at, end.saturating_sub(at).min(step), false);
            }
        }
        state.active.retain(|active| active.need > 0);
        Some(state)
    }

    /// Gives a file up to `most` clusters from rank `at` on; where it has all of them it is weighed.
    fn give(&mut self, state: &mut State, active: usize, at: u64, most: u64, forced: bool) -> u64 {
        let Some(taker) = state.active.get_mut(active).filter(|taker| taker.need > 0) else { return at };
        let len = taker.need.min(most);
        taker.need = taker.need.saturating_sub(len);
        let (row, left, end) = (taker.anchor, taker.need, at.saturating_add(len));
        if len == 0 {
            return at;
        }
        let fit = if left == 0 { self.weigh(state, row, end.saturating_sub(1)) } else { Fit::Possible };
        self.push(state, Piece { id: row, at, len, forced, exact: fit == Fit::Exact });
        end
    }

    /// Whether a file's bytes end in the cluster of rank `last`, and whether others should have been complete before.
    fn weigh(&mut self, state: &mut State, row: usize, last: u64) -> Fit {
        let Some(anchor) = self.anchor(row) else { return Fit::Possible };
        let fit = (self.fit)(last, anchor.tail);
        match fit {
            Fit::Not => state.cost = state.cost.saturating_add(4),
            Fit::Exact => state.exact = state.exact.saturating_add(1),
            Fit::Possible => {}
        }
        if state.active.len() <= MANY
            && let Some((early, _)) = anchor.ended
        {
            let waits = |at: &usize| state.active.get(*at).is_some_and(|active| active.need > 0);
            let earlier = |at: usize| self.ended(state, at).is_some_and(|(_, late)| late < early);
            let late = (0..state.active.len()).filter(waits).any(earlier);
            state.cost = state.cost.saturating_add(u64::from(late));
        }
        fit
    }

    /// Takes the pieces of the best state.
    fn commit(&mut self, states: &mut [State]) {
        let Some((best, others)) = states.split_first_mut() else { return };
        self.placed.unique &= others.iter().all(|other| (other.cost, other.exact) != (best.cost, best.exact));
        let mut at = best.node.take();
        while let Some(node) = at.and_then(|row| self.nodes.get(row)) {
            match node.piece.len {
                0 => self.placed.overrun.push(node.piece.id),
                _ => self.placed.pieces.push(node.piece),
            }
            at = node.before;
        }
        self.nodes.clear();
    }
}
