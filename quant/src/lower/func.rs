//! Real functions of one value, composed on the host and stored as 256-entry tables.

use super::quant::Quant;
use crate::ir::Unary;
use std::fmt;
use std::sync::Arc;

/// A function of one real value.
#[derive(Clone)]
pub struct Func {
    f: Arc<dyn Fn(f64) -> f64 + Send + Sync>,
    /// Elementary functions inside.
    cost: u32,
    /// Quantization that the function's range suggests.
    natural: Option<Quant>,
}

/// Compositions beyond this many elementary functions are not built.
const MAX_COST: u32 = 64;

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Func(cost {})", self.cost)
    }
}

impl Func {
    /// `f(x) = x`.
    pub fn identity() -> Func {
        Func {
            f: Arc::new(|x| x),
            cost: 0,
            natural: None,
        }
    }

    /// An elementary function.
    pub fn new(f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Func {
        Func {
            f: Arc::new(f),
            cost: 1,
            natural: None,
        }
    }

    /// One of the operators of the IR.
    pub fn unary(op: Unary) -> Func {
        let natural = match op {
            Unary::Sigmoid | Unary::HardSigmoid { .. } => Some(Quant::UNSIGNED_UNIT),
            Unary::Tanh => Some(Quant::SIGNED_UNIT),
            _ => None,
        };
        Func {
            natural,
            ..Func::new(move |x| eval(op, x))
        }
    }

    /// `g` after `self`, `None` where that gets too large.
    pub fn then(&self, g: &Func) -> Option<Func> {
        let (f, h) = (self.f.clone(), g.f.clone());
        let cost = self.cost + g.cost;
        (cost <= MAX_COST).then(|| Func {
            f: Arc::new(move |x| h(f(x))),
            cost,
            natural: g.natural,
        })
    }

    /// `op(self(x), g(x))`, `None` where that gets too large.
    pub fn join(&self, g: &Func, op: fn(f64, f64) -> f64) -> Option<Func> {
        let (a, b) = (self.f.clone(), g.f.clone());
        let cost = self.cost + g.cost + 1;
        (cost <= MAX_COST).then(|| Func {
            f: Arc::new(move |x| op(a(x), b(x))),
            cost,
            natural: None,
        })
    }

    /// Quantization that fits the range of the function by its nature.
    pub fn natural(&self) -> Option<Quant> {
        self.natural
    }

    /// Table from codes of `x` to codes of `y`; entry 0 belongs to code -128.
    pub fn table(&self, x: Quant, y: Quant) -> Vec<u8> {
        (-128..=127i8)
            .map(|code| y.code((self.f)(x.real(code))) as u8)
            .collect()
    }
}

fn eval(op: Unary, x: f64) -> f64 {
    let w = f64::from;
    match op {
        Unary::Relu => x.max(0.0),
        Unary::Clip(lo, hi) => x.max(w(lo)).min(w(hi)),
        Unary::LeakyRelu(a) => {
            if x < 0.0 {
                w(a) * x
            } else {
                x
            }
        }
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => (w(alpha) * x + w(beta)).clamp(0.0, 1.0),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Elu(a) => {
            if x < 0.0 {
                w(a) * x.exp_m1()
            } else {
                x
            }
        }
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Exp => x.exp(),
        Unary::Abs => x.abs(),
        // The float network gives NaN below zero; calibration refuses data that gets there.
        Unary::Sqrt => x.max(0.0).sqrt(),
        Unary::Erf => erf(x),
        Unary::Neg => -x,
    }
}

/// Error function: `2/sqrt(pi) * exp(-x^2) * sum_n 2^n x^(2n+1) / (2n+1)!!`, all terms of one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abramowitz and Stegun, table 7.1.
    #[test]
    fn erf_reference_values() {
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
        ] {
            assert!((erf(x) - want).abs() < 1e-10 && (erf(-x) + want).abs() < 1e-10);
        }
        assert_eq!(erf(7.0), 1.0);
    }

    #[test]
    fn composition_has_one_rounding() {
        let silu = Func::identity()
            .join(&Func::unary(Unary::Sigmoid), |a, b| a * b)
            .unwrap();
        let (x, y) = (Quant::from_range(-6.0, 6.0), Quant::from_range(-0.3, 6.0));
        let table = silu.table(x, y);
        for code in -128..=127i8 {
            let v = x.real(code);
            let want = y.code(v / (1.0 + (-v).exp()));
            assert_eq!(table[(i16::from(code) + 128) as usize] as i8, want);
        }
    }

    #[test]
    fn composition_is_bounded() {
        let mut f = Func::identity()
            .join(&Func::identity(), |a, b| a * b)
            .unwrap();
        let mut depth = 0;
        while let Some(g) = f.join(&f, |a, b| a * b) {
            f = g;
            depth += 1;
        }
        assert!(depth < 10);
    }
}
