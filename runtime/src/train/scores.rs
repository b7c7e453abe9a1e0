//! Softmax of integer scores.

/// Scores count sixteenths: a difference of 16 is a factor of e.
pub const UNITS_PER_NAT: i32 = 16;

/// One, as a probability.
pub(crate) const ONE: i32 = 1 << 15;

const ENTRIES: usize = 176;

/// `2^15 * e^(-i / 16)`, each entry from the one before; the last is 0.
const EXP: [u16; ENTRIES] = {
    let mut table = [0; ENTRIES];
    // 2^32 * e^(-1/16).
    let step: u64 = 4_034_748_014;
    let mut value: u64 = (ONE as u64) << 32;
    let mut rest: &mut [u16] = &mut table;
    while let [first, tail @ ..] = rest {
        *first = ((value + (1 << 31)) >> 32) as u16;
        value = ((value >> 16) * (step >> 8)) >> 8;
        rest = tail;
    }
    table
};

/// `2^15 * e^(-below / 16)`.
fn exp(below: i64) -> u32 {
    usize::try_from(below)
        .ok()
        .and_then(|i| EXP.get(i))
        .map_or(0, |&e| e.into())
}

/// Probabilities of `scores`, in parts of [`ONE`]; their sum is at most that.
pub(crate) fn softmax<const N: usize>(scores: &[i32; N]) -> [i32; N] {
    let most = scores.iter().copied().max().unwrap_or(0);
    let below = |score: i32| exp(i64::from(most) - i64::from(score));
    let sum: u32 = scores.iter().map(|&s| below(s)).sum();
    scores.map(|score| (below(score) << 15).checked_div(sum).unwrap_or(0) as i32)
}

/// What a class should have had more: one minus its probability for the label, minus its probability for others.
pub(crate) fn errors<const N: usize>(scores: &[i32; N], label: usize) -> [i32; N] {
    let mut errors = softmax(scores).map(|p| -p);
    if let Some(error) = errors.get_mut(label) {
        *error += ONE;
    }
    errors
}

/// Index of the largest score, the first of equal ones.
pub(crate) fn best<const N: usize>(scores: &[i32; N]) -> usize {
    let mut found = (0, i32::MIN);
    for (i, &score) in scores.iter().enumerate() {
        if score > found.1 {
            found = (i, score);
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_reals() {
        for (i, &entry) in EXP.iter().enumerate() {
            let real = 32768.0 * (-(i as f64) / 16.0).exp();
            assert!(
                (f64::from(entry) - real).abs() < 1.0,
                "{i}: {entry} and {real}"
            );
        }
        assert!(EXP[ENTRIES - 1] <= 1);
    }

    #[test]
    fn probabilities_sum_to_one() {
        let p = softmax(&[0, 16, -1000, 16]);
        let sum: i32 = p.iter().sum();
        assert!((ONE - 4..=ONE).contains(&sum), "{p:?}");
        assert!(
            p[1] == p[3] && p[2] == 0 && (p[1] - p[0] * 27183 / 10000).abs() < 8,
            "{p:?}"
        );
        assert_eq!(softmax(&[i32::MIN, i32::MAX]), [0, ONE]);
        assert_eq!(best(&[3, 9, 9]), 1);
    }
}
