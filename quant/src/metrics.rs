//! Figures of merit of scores.

/// Area under the ROC curve: the chance that a positive scores above a negative, ties count half.
/// `None` without positives or without negatives.
pub fn auc<T: Copy + Into<f64>>(scores: &[T], positive: &[bool]) -> Option<f64> {
    let score = |i: &usize| -> f64 { scores[*i].into() };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| score(a).total_cmp(&score(b)));
    let pos = positive.iter().filter(|&&p| p).count();
    let neg = positive.len() - pos;
    if pos == 0 || neg == 0 {
        return None;
    }
    // Sum of the ranks of the positives; equal scores share their mean rank.
    let (mut ranks, mut at) = (0.0f64, 0);
    for group in order.chunk_by(|a, b| score(a) == score(b)) {
        let mean = at as f64 + (group.len() as f64 + 1.0) / 2.0;
        ranks += mean * group.iter().filter(|&&i| positive[i]).count() as f64;
        at += group.len();
    }
    let (pos, neg) = (pos as f64, neg as f64);
    Some((ranks - pos * (pos + 1.0) / 2.0) / (pos * neg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_counts_pairs() {
        let positive = [true, true, false, false];
        assert_eq!(auc(&[4.0, 3.0, 2.0, 1.0], &positive), Some(1.0));
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &positive), Some(0.0));
        // Pairs (3,3) tie, (3,1) right, (1,3) wrong, (1,1) tie.
        assert_eq!(auc(&[3.0, 1.0, 3.0, 1.0], &positive), Some(0.5));
        assert_eq!(auc(&[1.0, 2.0], &[true, true]), None);
    }
}
