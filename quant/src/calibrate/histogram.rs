//! Counts of the values of one activation and the ranges chosen from them.

/// Bins between the smallest and the largest value: eight per step of an 8-bit grid.
const BINS: usize = 2048;
/// Steps of a quantization grid of 8 bits.
const STEPS: f64 = 255.0;

/// Equal-width counts over `[min(lo, 0), max(hi, 0)]`. Exact zeros, which every grid represents without
/// error, are not counted.
#[derive(Clone)]
pub struct Histogram {
    lo: f64,
    hi: f64,
    counts: Vec<u64>,
}

impl Histogram {
    pub fn new(lo: f32, hi: f32) -> Self {
        Histogram {
            lo: f64::from(lo.min(0.0)),
            hi: f64::from(hi.max(0.0)),
            counts: vec![0; BINS],
        }
    }

    pub fn add(&mut self, v: f32) {
        let width = self.hi - self.lo;
        if v != 0.0 && width > 0.0 {
            let at = ((f64::from(v) - self.lo) / width * BINS as f64) as usize;
            self.counts[at.min(BINS - 1)] += 1;
        }
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a += b);
    }

    fn edge(&self, bin: usize) -> f64 {
        self.lo + (self.hi - self.lo) * bin as f64 / BINS as f64
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Range that leaves at most `1 - share` of the counts beyond either end.
    pub fn percentile(&self, share: f64) -> (f32, f32) {
        let allowed = ((1.0 - share) * self.total() as f64).floor() as u64;
        let skip = |bins: &mut dyn Iterator<Item = &u64>| {
            let mut beyond = 0;
            bins.take_while(|&&c| {
                beyond += c;
                beyond <= allowed
            })
            .count()
        };
        let (low, high) = (
            skip(&mut self.counts.iter()),
            skip(&mut self.counts.iter().rev()),
        );
        let lo = if low == 0 {
            self.lo
        } else {
            self.edge(low).min(0.0)
        };
        let hi = if high == 0 {
            self.hi
        } else {
            self.edge(BINS - high).max(0.0)
        };
        (lo as f32, hi as f32)
    }

    /// Mean square error of an 8-bit grid over `[lo, hi]`, times the total count: `step^2 / 12` inside, the
    /// squared distance to the nearer end outside.
    fn error(&self, lo: f64, hi: f64) -> f64 {
        let step = (hi - lo) / STEPS;
        let inside = step * step / 12.0;
        let mut sum = 0.0;
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            let v = (self.edge(bin) + self.edge(bin + 1)) / 2.0;
            let over = (v - hi).max(lo - v).max(0.0);
            sum += count as f64 * if over > 0.0 { over * over } else { inside };
        }
        sum
    }

    /// Range with the smallest [`Histogram::error`], searched per side in steps of 2 % of that side's extent.
    pub fn least_error(&self) -> (f32, f32) {
        let shares = || (15..=50).rev().map(|i| f64::from(i) / 50.0);
        let (mut lo, mut hi) = (self.lo, self.hi);
        let best = |candidates: &mut dyn Iterator<Item = (f64, f64)>| {
            let mut found = (f64::INFINITY, (self.lo, self.hi));
            for (lo, hi) in candidates {
                let e = self.error(lo, hi);
                if e < found.0 {
                    found = (e, (lo, hi));
                }
            }
            found.1
        };
        for _ in 0..2 {
            hi = best(&mut shares().map(|f| (lo, self.hi * f))).1;
            lo = best(&mut shares().map(|f| (self.lo * f, hi))).0;
        }
        (lo as f32, hi as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100,000 values of a triangular density on [-1, 1] and one outlier at 50.
    fn with_outlier() -> Histogram {
        let mut h = Histogram::new(-1.0, 50.0);
        for i in 0..100_000u32 {
            let u = (f64::from(i) + 0.5) / 100_000.0;
            let v = if u < 0.5 {
                (2.0 * u).sqrt() - 1.0
            } else {
                1.0 - (2.0 * (1.0 - u)).sqrt()
            };
            h.add(v as f32);
        }
        h.add(50.0);
        h
    }

    #[test]
    fn percentile_drops_the_outlier() {
        let (lo, hi) = with_outlier().percentile(0.999);
        assert!((-1.0..=-0.9).contains(&lo), "{lo}");
        assert!((0.9..=1.05).contains(&hi), "{hi}");
        assert_eq!(with_outlier().percentile(1.0), (-1.0, 50.0));
    }

    #[test]
    fn least_error_clips_and_is_no_worse_than_the_extremes() {
        let h = with_outlier();
        let (lo, hi) = h.least_error();
        assert!(hi < 50.0);
        assert!(h.error(f64::from(lo), f64::from(hi)) <= h.error(-1.0, 50.0));
    }

    #[test]
    fn zeros_and_constants_are_harmless() {
        let mut h = Histogram::new(0.0, 0.0);
        h.add(0.0);
        assert_eq!(h.percentile(0.99), (0.0, 0.0));
        assert_eq!(h.least_error(), (0.0, 0.0));
    }
}
