//! Which features go to which autoencoder: features that move together sit together.
//!
//! Source: Mirsky et al. (NDSS 2018), section IV-B: correlations are summed up row by row (so memory does not grow with the rows), the
//! distance of two features is one minus their correlation, an agglomerative clustering (average linkage) makes a tree, and the largest
//! branches with at most `m` features become the clusters. Missing values are left out pair by pair; a feature that never moved is at
//! distance one from all others. Guarantees: every feature is in exactly one cluster; the same rows in the same order give the same map.

/// Running sums of the values and products of every pair of features.
pub(crate) struct Correlations {
    features: usize,
    count: Vec<f64>,
    sum: Vec<f64>,
    square: Vec<f64>,
    product: Vec<f64>,
}

impl Correlations {
    /// Nothing seen yet of so many features.
    pub(crate) fn new(features: usize) -> Self {
        let pairs = || vec![0.0; features * features];
        Self { features, count: pairs(), sum: pairs(), square: pairs(), product: pairs() }
    }

    /// Adds a normalised row; NaN is missing.
    pub(crate) fn see(&mut self, row: &[f32]) {
        for (i, &a) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            // Centred on the middle of the scale, so that the sums of squares lose no digits.
            let a = f64::from(a) - 0.5;
            for (j, &b) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                let at = i * self.features + j;
                self.count[at] += 1.0;
                self.sum[at] += a;
                self.square[at] += a * a;
                self.product[at] += a * (f64::from(b) - 0.5);
            }
        }
    }

    /// One minus the correlation's size of features `i` and `j`, over the rows that had both: 0 moves together (or opposite), 1 does not.
    pub(crate) fn distance(&self, i: usize, j: usize) -> f64 {
        let (ij, ji) = (i * self.features + j, j * self.features + i);
        let n = self.count[ij];
        if n < 2.0 {
            return 1.0;
        }
        let spread = |at: usize| (self.square[at] - self.sum[at] * self.sum[at] / n).max(0.0);
        let together = self.product[ij] - self.sum[ij] * self.sum[ji] / n;
        let scale = (spread(ij) * spread(ji)).sqrt();
        if scale <= 1e-9 * n { 1.0 } else { 1.0 - (together / scale).abs().min(1.0) }
    }

    /// The clusters, each at most `size_max` features, in order of their first feature.
    pub(crate) fn clusters(&self, size_max: usize) -> Vec<Vec<usize>> {
        let mut distance: Vec<f64> = (0..self.features * self.features)
            .map(|at| self.distance(at / self.features, at % self.features))
            .collect();
        let mut open: Vec<Option<Vec<usize>>> = (0..self.features).map(|feature| Some(vec![feature])).collect();
        let mut finished = Vec::new();
        // A branch of the tree that would grow too large is cut below: its two halves are clusters, and nothing above them is.
        let mut cut = vec![false; self.features];
        while let Some((a, b)) = nearest(&open, &distance, self.features) {
            let (left, right) = (open[a].take().unwrap_or_default(), open[b].take().unwrap_or_default());
            let (n, m) = (left.len(), right.len());
            merge_distances(&mut distance, self.features, (a, n), (b, m));
            if cut[a] || cut[b] || n + m > size_max {
                [(a, &left), (b, &right)]
                    .into_iter()
                    .filter(|(at, _)| !cut[*at])
                    .for_each(|(_, c)| finished.push(c.clone()));
                cut[a] = true;
            }
            open[a] = Some([left, right].concat());
        }
        for (at, branch) in open.into_iter().enumerate() {
            if let (Some(branch), false) = (branch, cut[at]) {
                finished.push(branch);
            }
        }
        finished.iter_mut().for_each(|cluster| cluster.sort_unstable());
        finished.sort_unstable();
        finished
    }
}

/// The two open branches nearest to each other; the first such pair when several are equally near.
fn nearest(open: &[Option<Vec<usize>>], distance: &[f64], features: usize) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for a in (0..features).filter(|at| open[*at].is_some()) {
        for b in (a + 1..features).filter(|at| open[*at].is_some()) {
            let between = distance[a * features + b];
            if best.is_none_or(|(least, _, _)| between < least) {
                best = Some((between, a, b));
            }
        }
    }
    best.map(|(_, a, b)| (a, b))
}

/// Average linkage: the merged branch `a` is as far from every other as its features are on average.
#[expect(clippy::cast_precision_loss, reason = "few features")]
fn merge_distances(distance: &mut [f64], features: usize, (a, n): (usize, usize), (b, m): (usize, usize)) {
    for other in 0..features {
        let mean =
            (distance[a * features + other] * n as f64 + distance[b * features + other] * m as f64) / (n + m) as f64;
        distance[a * features + other] = mean;
        distance[other * features + a] = mean;
    }
}

#[cfg(test)]
mod tests {
    use super::Correlations;

    #[test]
    fn features_that_move_together_share_a_cluster_of_bounded_size() {
        let mut seen = Correlations::new(7);
        for step in 0..200_u16 {
            let (a, b) = (f32::from(step % 17) / 17.0, f32::from(step % 29) / 29.0);
            let missing = if step % 5 == 0 { f32::NAN } else { 1.0 - a };
            seen.see(&[a, b, a * 0.5, b * 0.9, missing, 0.3, 0.3]);
        }
        assert!(seen.distance(0, 4) < 1e-6 && seen.distance(0, 1) > 0.5 && seen.distance(0, 5) == 1.0);
        let clusters = seen.clusters(3);
        assert!(clusters.contains(&vec![0, 2, 4]), "{clusters:?}");
        assert!(clusters.iter().any(|cluster| cluster.contains(&1) && cluster.contains(&3)), "{clusters:?}");
        let mut all = clusters.concat();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert!(clusters.iter().all(|cluster| cluster.len() <= 3));
    }

    #[test]
    fn one_feature_makes_one_cluster() {
        assert_eq!(Correlations::new(1).clusters(10), vec![vec![0]]);
    }
}
