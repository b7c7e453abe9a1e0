//! Agreement of two lists of numbers.

/// Kendall's rank correlation tau-b: 1 where both lists have the same order, -1 where it is reversed; 0 where one of them
/// is constant. Source: Kendall, "The treatment of ties in ranking problems", 1945.
pub fn kendall(a: &[f64], b: &[f64]) -> f64 {
    let (mut balance, mut in_a, mut in_b) = (0i64, 0u64, 0u64);
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        for (u, v) in a.iter().zip(b).take(i) {
            let (p, q) = (x.total_cmp(u) as i64, y.total_cmp(v) as i64);
            balance += p * q;
            in_a += p.unsigned_abs();
            in_b += q.unsigned_abs();
        }
    }
    match in_a.min(in_b) {
        0 => 0.0,
        _ => balance as f64 / (in_a as f64 * in_b as f64).sqrt(),
    }
}

/// Pearson's correlation; 0 where one of the lists is constant.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len()).max(1) as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - ma, y - mb);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    match aa > 0.0 && bb > 0.0 {
        true => ab / (aa * bb).sqrt(),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let a = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(kendall(&a, &[10.0, 20.0, 30.0, 40.0]), 1.0);
        assert_eq!(kendall(&a, &[4.0, 3.0, 2.0, 1.0]), -1.0);
        // Of six pairs five agree and one does not.
        assert!((kendall(&a, &[1.0, 3.0, 2.0, 4.0]) - 4.0 / 6.0).abs() < 1e-12);
        // One tie in b: five pairs agree, tau-b = 5 / sqrt(6 * 5).
        assert!((kendall(&a, &[1.0, 2.0, 2.0, 4.0]) - 5.0 / 30f64.sqrt()).abs() < 1e-12);
        assert_eq!(kendall(&a, &[7.0; 4]), 0.0);
        assert!((pearson(&a, &[2.0, 4.0, 6.0, 8.0]) - 1.0).abs() < 1e-12);
        assert!((pearson(&a, &[1.0, -1.0, -1.0, 1.0])).abs() < 1e-12);
        assert_eq!(pearson(&a, &[7.0; 4]), 0.0);
    }
}
