//! Numbers by chance that come again: the whole soak follows from one seed.

pub(super) use fastrand::Rng;

/// The stream number `stream` of `seed`: each thread has its own.
pub(super) fn stream(seed: u64, stream: u64) -> Rng {
    Rng::with_seed(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
}

/// `length` bytes.
pub(super) fn bytes(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
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
}

/// It never ends.
impl Iterator for Deck {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left.is_empty() {
            self.left = (0..self.count).collect();
            self.rng.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_comes_once_before_any_comes_again() {
        let mut deck = Deck::new(stream(1, 1), 20);
        for _ in 0..3 {
            let mut drawn: Vec<usize> = deck.by_ref().take(20).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (0..20).collect::<Vec<_>>());
        }
    }
}
