//! Chance that a seed repeats, and how much work a test does with it.

/// Random numbers from a seed (xorshift), so that a failure can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }
}

/// The seed of a test: a fixed one, or what `OVERLAID_SEED` says; printed, so that a failure shows it.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("OVERLAID_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("OVERLAID_SEED={seed}");
    seed
}

/// How much of something a test does: `usual`, times what `OVERLAID_EFFORT` says.
pub(crate) fn effort(usual: usize) -> usize {
    usual * std::env::var("OVERLAID_EFFORT").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Does `work` for each number below `count`, on as many threads as there are processors.
pub(crate) fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    work(number);
                }
            });
        }
    });
}
