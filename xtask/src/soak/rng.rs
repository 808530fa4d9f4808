//! Numbers by chance that come again: the whole soak follows from one seed.

/// `SplitMix64`: a stream of numbers from a seed, each stream of its own for every thread.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `most`, which is not 0.
    pub(super) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    /// `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// In another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The numbers `0..count` by chance, each once before any comes again: what is chosen from is all tried.
#[derive(Debug)]
pub(super) struct Deck {
    rng: Rng,
    count: usize,
    left: Vec<usize>,
}

impl Deck {
    /// A deck of `count`.
    pub(super) fn new(rng: Rng, count: usize) -> Self {
        Self { rng, count, left: Vec::new() }
    }

    /// The next one.
    pub(super) fn draw(&mut self) -> usize {
        if self.left.is_empty() {
            self.left = (0..self.count).collect();
            self.rng.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_another_stream_others() {
        let take = |stream| Rng::new(7, stream).bytes(64);
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn each_card_comes_once_before_any_comes_again() {
        let mut deck = Deck::new(Rng::new(1, 1), 20);
        for _ in 0..3 {
            let mut drawn: Vec<usize> = (0..20).map(|_| deck.draw()).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (0..20).collect::<Vec<_>>());
        }
    }
}
