//! Files written, grown and deleted by a model of an allocator: what is made of them against what they were.

use super::*;
use proptest::prelude::*;

const LAST: u32 = 400;
const CLUSTER: u64 = 4096;
const HEAP: Heap = Heap { start: 0, cluster: CLUSTER, last: LAST };

#[derive(Clone, Debug)]
struct File {
    clusters: Vec<u32>,
    tail: u64,
    begun: i64,
    ended: i64,
    deleted: bool,
    directory: bool,
}

/// A disk with a clock in hundredths of a second.
struct Disk {
    taken: Vec<bool>,
    /// Which file's bytes a cluster holds, and which of its clusters it was.
    holds: Vec<Option<(usize, usize)>>,
    files: Vec<File>,
    now: i64,
}

impl Disk {
    fn new() -> Self {
        let size = LAST as usize + 1;
        Self { taken: vec![false; size], holds: vec![None; size], files: Vec::new(), now: 1_000_000 }
    }

    fn next(&self, from: u32) -> Option<u32> {
        (from.max(2)..=LAST).find(|cluster| !self.taken[*cluster as usize])
    }

    fn put(&mut self, file: usize, cluster: u32) {
        self.taken[cluster as usize] = true;
        self.holds[cluster as usize] = Some((file, self.files[file].clusters.len()));
        self.files[file].clusters.push(cluster);
        self.files[file].ended = self.now;
    }

    fn create(&mut self, from: u32, tail: u64) -> Option<usize> {
        let first = self.next(from)?;
        let (begun, file) = (self.now, self.files.len());
        let clusters = Vec::new();
        self.files.push(File { clusters, tail, begun, ended: begun, deleted: false, directory: false });
        self.put(file, first);
        Some(file)
    }

    fn grow(&mut self, file: usize, count: usize) {
        for _ in 0..count {
            let last = *self.files[file].clusters.last().unwrap();
            let Some(next) = self.next(last) else { return };
            self.put(file, next);
        }
    }

    fn delete(&mut self, file: usize) {
        self.files[file].deleted = true;
        let clusters = self.files[file].clusters.clone();
        clusters.iter().for_each(|cluster| self.taken[*cluster as usize] = false);
    }

    fn free(&self) -> Free {
        Free::of((2..=LAST).filter(|cluster| !self.taken[*cluster as usize]))
    }

    /// What a cluster holds: bytes up to where the file in it ends.
    fn fit(&self, cluster: u32, tail: u64) -> Fit {
        let bytes = self.holds[cluster as usize].map_or(0, |(file, row)| {
            let file = &self.files[file];
            if row + 1 == file.clusters.len() { file.tail } else { CLUSTER }
        });
        match tail {
            _ if tail.is_multiple_of(SECTOR) => Fit::Possible,
            _ if bytes > tail => Fit::Not,
            _ if bytes + 16 > tail => Fit::Exact,
            _ => Fit::Possible,
        }
    }

    /// With `exfat` a file in one piece says so.
    fn claim(&self, row: usize, timed: bool, exfat: bool) -> Claim {
        let file = &self.files[row];
        let first = file.clusters[0];
        let mut spans = Vec::new();
        file.clusters.iter().for_each(|cluster| crate::fs::cluster::extend(&mut spans, *cluster));
        // Times of change are kept in steps of two seconds.
        let ended = file.ended / 200 * 200;
        let life = Life { begun: file.begun, ended, late: ended + 200, local: true };
        Claim {
            row: Some(row),
            at: row as u64,
            first,
            count: file.clusters.len() as u64,
            known: (exfat && spans.len() == 1).then_some(spans),
            tail: file.tail,
            life: (timed && life.late > life.begun).then_some(life),
            vague: false,
            abuts: false,
        }
    }

    /// Every deleted file with what is made of it.
    fn solved(&self, timed: bool, exfat: bool) -> Vec<(usize, Share)> {
        let rows: Vec<_> = (0..self.files.len()).filter(|row| self.files[*row].deleted).collect();
        // A directory that was written over does not look like one any more.
        let held = |row: usize, (at, cluster): (usize, &u32)| self.holds[*cluster as usize] == Some((row, at));
        let whole = |row: usize| self.files[row].clusters.iter().enumerate().all(|place| held(row, place));
        let claim = |row: &usize| match &self.files[*row] {
            file if file.directory && whole(*row) => {
                let mut spans = Vec::new();
                file.clusters.iter().for_each(|cluster| crate::fs::cluster::extend(&mut spans, *cluster));
                Claim::directory(file.clusters[0], &spans)
            }
            _ => self.claim(*row, timed, exfat),
        };
        let claims: Vec<_> = rows.iter().map(claim).collect();
        let shares = solve(&HEAP, &self.free(), &claims, |cluster, tail| self.fit(cluster, tail));
        rows.into_iter().zip(shares).filter(|(row, _)| !self.files[*row].directory).collect()
    }

    /// Whether these clusters hold what the file held.
    fn is_right(&self, row: usize, share: &Share) -> bool {
        let clusters: Vec<u32> = share.spans.iter().flat_map(|span| span.first..span.end()).collect();
        let held = |(at, cluster): (usize, &u32)| self.holds[*cluster as usize] == Some((row, at));
        clusters == self.files[row].clusters && clusters.iter().enumerate().all(held)
    }
}

/// Numbers that look like chance, the same on each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn tail(&mut self) -> u64 {
        self.roll(CLUSTER) + 1
    }

    fn wait(&mut self, disk: &mut Disk) {
        disk.now += self.roll(1500) as i64;
    }
}

/// Two files of 2 to 9 clusters, among others that were complete before or begin after them.
fn pair(dice: &mut Dice, braided: bool) -> (Disk, [usize; 2]) {
    let mut disk = Disk::new();
    (0..dice.roll(4)).for_each(|n| disk.taken[(5 + 7 * n) as usize] = true);
    let before = disk.create(2, dice.tail()).unwrap();
    disk.grow(before, dice.roll(5) as usize);
    dice.wait(&mut disk);
    let one = disk.create(2, dice.tail()).unwrap();
    dice.wait(&mut disk);
    let other = disk.create(2, dice.tail()).unwrap();
    let (mut left, mut more) = (1 + dice.roll(8), 1 + dice.roll(8));
    while left > 0 || more > 0 {
        let nested = !braided && more > 0;
        if left > 0 && !nested {
            dice.wait(&mut disk);
            disk.grow(one, 1);
            left -= 1;
        }
        if more > 0 {
            dice.wait(&mut disk);
            disk.grow(other, 1);
            more -= 1;
        }
    }
    dice.wait(&mut disk);
    let after = disk.create(2, dice.tail()).unwrap();
    disk.grow(after, dice.roll(5) as usize);
    [before, one, other, after].iter().for_each(|file| disk.delete(*file));
    (disk, [one, other])
}

#[test]
fn braided_and_nested_files_come_apart() {
    let mut dice = Dice(7);
    for (braided, timed) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut right, all) = (0, 400);
        for _ in 0..all {
            let (disk, pair) = pair(&mut dice, braided);
            let shares = disk.solved(timed, false);
            let of = |row: usize| shares.iter().find(|(own, _)| *own == row).unwrap();
            right += u32::from(pair.iter().all(|row| disk.is_right(*row, &of(*row).1)));
            assert_no_wrong_promise(&disk, &shares);
        }
        println!("braided {braided}, with times {timed}: {right} of {all} pairs are right");
        assert!(right * 100 >= all * 95, "braided {braided}, with times {timed}: {right} of {all}");
    }
}

#[track_caller]
fn assert_no_wrong_promise(disk: &Disk, shares: &[(usize, Share)]) {
    for (row, share) in shares {
        let right = disk.is_right(*row, share);
        assert!(share.verdict != Recovered::Intact || right, "{row}: {share:?}\n{:#?}", disk.files);
    }
}

#[test]
fn a_file_alone_is_proven_and_one_around_live_files_is_not() {
    let mut disk = Disk::new();
    let one = disk.create(2, 100).unwrap();
    disk.grow(one, 2);
    disk.taken[6] = true;
    let other = disk.create(2, 100).unwrap();
    disk.grow(other, 3);
    disk.delete(one);
    disk.delete(other);
    let shares = disk.solved(true, false);
    assert_eq!((shares[0].1.verdict, &shares[0].1.sure[..]), (Recovered::Intact, &[(3, Certainty::Proven)][..]));
    assert_eq!((shares[1].1.verdict, disk.is_right(other, &shares[1].1)), (Recovered::Partial, true));
    assert_eq!(shares[1].1.sure, [(1, Certainty::Proven), (3, Certainty::Guessed)]);
}

#[test]
fn of_files_with_one_beginning_only_the_newest_may_be_intact() {
    for (again, timed) in [(1, true), (2, true), (1, false), (2, false)] {
        let mut disk = Disk::new();
        for size in (2..).take(again + 1) {
            let file = disk.create(2, 100).unwrap();
            disk.grow(file, size);
            disk.delete(file);
            disk.now += 1000;
        }
        let shares = disk.solved(timed, false);
        assert_no_wrong_promise(&disk, &shares);
        let verdicts: Vec<_> = shares.iter().map(|(_, share)| share.verdict).collect();
        let mut expected = vec![Recovered::Partial; again + 1];
        if timed {
            expected[again] = Recovered::Intact;
        }
        assert_eq!(verdicts, expected);
        assert!(!timed || shares[0].1.sure.is_empty());
    }
}

#[test]
fn many_claims_end_in_time() {
    let free = Free::of(2..4_000_000);
    let heap = Heap { last: 4_000_000, ..HEAP };
    let life = Some(Life { begun: 0, ended: 0, late: 200, local: true });
    // All of them nested, all braided, and all with the same beginning.
    for (step, count) in [(1u32, 100), (2, 4), (0, 10)] {
        let claims: Vec<_> = (0..200_000u32)
            .map(|n| Claim {
                row: Some(0),
                at: u64::from(n),
                first: 2 + n * step,
                count,
                known: None,
                tail: 1,
                life,
                vague: false,
                abuts: false,
            })
            .collect();
        let begun = std::time::Instant::now();
        let shares = solve(&heap, &free, &claims, |_, _| Fit::Possible);
        let intact = shares.iter().filter(|share| share.verdict == Recovered::Intact).count();
        println!("step {step}: {intact} intact, {:?}", begun.elapsed());
        assert!(begun.elapsed().as_secs() < 60 && intact < 2);
    }
}

/// What happens on the disk: (what, which file, how many clusters, how long it takes).
type Step = (u8, usize, usize, i64);

fn play(steps: &[Step], tails: &[u64]) -> Disk {
    let (mut disk, mut rotor) = (Disk::new(), 2);
    for (row, (what, file, count, wait)) in steps.iter().enumerate() {
        let tail = tails[row % tails.len()];
        let living: Vec<_> = (0..disk.files.len()).filter(|file| !disk.files[*file].deleted).collect();
        let chosen = living.get(file % living.len().max(1)).copied();
        match (what % 8, chosen) {
            (0..=1, _) | (_, None) => {
                // Some systems look from the beginning, some from the last place on.
                let from = if what / 8 % 2 == 0 { 2 } else { rotor };
                if let Some(file) = disk.create(from, tail) {
                    disk.grow(file, *count);
                    disk.files[file].directory = what / 16 % 8 == 0;
                    rotor = *disk.files[file].clusters.last().unwrap();
                }
            }
            (2..=4, Some(file)) => disk.grow(file, *count),
            (5, Some(file)) => disk.files[file].ended = disk.now,
            (_, Some(file)) => disk.delete(file),
        }
        disk.now += wait;
    }
    // A third stays.
    for file in (0..disk.files.len()).filter(|file| file % 3 > 0) {
        if !disk.files[file].deleted {
            disk.delete(file);
        }
    }
    disk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_called_intact_is_wrong(
        steps in prop::collection::vec((any::<u8>(), any::<usize>(), 0usize..6, 0i64..900), 1..60),
        tails in prop::collection::vec(1..=CLUSTER, 1..9),
        timed: bool,
        exfat: bool,
    ) {
        let disk = play(&steps, &tails);
        for (row, share) in disk.solved(timed, exfat) {
            let right = disk.is_right(row, &share);
            prop_assert!(share.verdict != Recovered::Intact || right, "{row}: {share:?}\n{:#?}", disk.files);
            let sure: u64 = share.sure.iter().map(|(clusters, _)| clusters).sum();
            prop_assert!(share.sure.is_empty() || sure == disk.files[row].clusters.len() as u64);
        }
    }
}
