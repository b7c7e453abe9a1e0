//! Adam (Kingma & Ba, 2015) on plain slices.

const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// State for `n` parameters.
#[derive(Clone, Debug)]
pub struct Adam {
    rate: f64,
    steps: i32,
    moments: Vec<(f64, f64)>,
}

impl Adam {
    pub fn new(n: usize, rate: f64) -> Adam {
        Adam {
            rate,
            steps: 0,
            moments: vec![(0.0, 0.0); n],
        }
    }

    /// Move `x` against gradient `g`; a gradient that is not finite moves nothing.
    pub fn step(&mut self, x: &mut [f64], g: &[f64]) {
        self.steps = self.steps.saturating_add(1);
        let bias = (1.0 - BETA.0.powi(self.steps), 1.0 - BETA.1.powi(self.steps));
        for ((x, &g), (first, second)) in x.iter_mut().zip(g).zip(&mut self.moments) {
            if !g.is_finite() {
                continue;
            }
            *first = BETA.0 * *first + (1.0 - BETA.0) * g;
            *second = BETA.1 * *second + (1.0 - BETA.1) * g * g;
            *x -= self.rate * (*first / bias.0) / ((*second / bias.1).sqrt() + EPSILON);
        }
    }
}
