//! Turns: every contender once a round, in an order that rotates, and ratios inside each round.

use std::time::{Duration, Instant};

use crate::rig::load::{Outcome, percentile};

/// What one turn measured. What a contender does not measure is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Answers a second, or turns a second of what is done once.
    pub(crate) per_second: f64,
    /// CPU time of the server for one answer.
    pub(crate) cpu_us: f64,
    /// Latency that one in a hundred exceeds.
    pub(crate) p99_ms: f64,
}

impl Sample {
    /// A turn that did something once.
    pub(crate) fn once(took: Duration) -> Self {
        Self::each(took, 1)
    }

    /// A turn that did something `times` times.
    pub(crate) fn each(took: Duration, times: usize) -> Self {
        Self { per_second: times as f64 / took.as_secs_f64(), ..Self::default() }
    }

    pub(crate) fn load(mut outcome: Outcome, server_cpu_ns: u64) -> Self {
        Self {
            per_second: outcome.answers as f64 / outcome.elapsed.as_secs_f64(),
            cpu_us: server_cpu_ns as f64 / 1_000.0 / outcome.answers as f64,
            p99_ms: percentile(&mut outcome.latencies, 0.99).as_secs_f64() * 1_000.0,
        }
    }

    /// Milliseconds for each.
    pub(crate) fn each_ms(&self) -> f64 {
        1_000.0 / self.per_second
    }
}

/// Runs something and says how long it took.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Runs something and says how much CPU time this thread took for it: for what neither waits nor has helpers, steadier
/// than [`timed`].
pub(crate) fn cpu_timed(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    };
    let start = now();
    work();
    now().saturating_sub(start)
}

/// One side of a contest.
pub(crate) struct Contender<'a> {
    name: &'static str,
    turn: Box<dyn FnMut(usize) -> Sample + 'a>,
    samples: Vec<Sample>,
}

impl<'a> Contender<'a> {
    /// `turn` is told the number of the round.
    pub(crate) fn new(name: &'static str, turn: impl FnMut(usize) -> Sample + 'a) -> Self {
        Self { name, turn: Box::new(turn), samples: Vec::new() }
    }

    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        spread(self.samples.iter().map(figure).collect()).median
    }
}

/// Lets the contenders take turns.
pub(crate) fn interleave(rounds: usize, mut contenders: Vec<Contender<'_>>) -> Contest<'_> {
    for contender in &mut contenders {
        // What is slow only the first time is none of the contest's business; cold files see to their coldness
        // themselves.
        (contender.turn)(rounds);
    }
    let count = contenders.len();
    for round in 0..rounds {
        for place in 0..count {
            let contender = &mut contenders[(round + place) % count];
            let sample = (contender.turn)(round);
            contender.samples.push(sample);
        }
    }
    Contest { contenders }
}

/// A contest that is over.
pub(crate) struct Contest<'a> {
    contenders: Vec<Contender<'a>>,
}

impl<'a> Contest<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&Contender<'a>> {
        self.contenders.iter().find(|contender| contender.name == name)
    }

    /// The figure of `ours` by that of `theirs`; `None` if one of them did not take part.
    pub(crate) fn ratio(&self, ours: &str, theirs: &str, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let pairs = self.get(ours)?.samples.iter().zip(&self.get(theirs)?.samples);
        Some(spread(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)).collect()))
    }

    /// A figure of one contender.
    pub(crate) fn figure(&self, name: &str, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Some(spread(self.get(name)?.samples.iter().map(figure).collect()))
    }

    /// The median of a figure as text; a dash if the contender did not take part.
    pub(crate) fn text(&self, name: &str, figure: impl Fn(&Sample) -> f64, show: impl Fn(f64) -> String) -> String {
        self.get(name).map_or_else(|| "–".to_owned(), |contender| show(contender.median(figure)))
    }
}

/// A median and the extremes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Sorts figures; there is at least one.
pub(crate) fn spread(mut figures: Vec<f64>) -> Spread {
    figures.sort_by(f64::total_cmp);
    Spread { median: figures[figures.len() / 2], low: figures[0], high: figures[figures.len() - 1] }
}
