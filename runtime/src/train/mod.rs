//! Learning on the device: new classes or a new sensor, with integers and memory that is known at compile time.
//!
//! The network of the artifact stays as it is and gives features, the codes of a tensor such as the input of its last
//! dense layer ([`crate::Session::tensor`]). A head learns from them sample by sample:
//!
//! - [`LinearHead`], a dense layer trained by stochastic gradient descent. Right where samples of all classes come mixed.
//! - [`Bottleneck`], a discrete key-value bottleneck. Right where classes come one after the other: it changes only
//!   the values that a sample touches, so that what was learned before stays.
//!
//! Rows that learning changed are kept in flash by a [`Journal`], which a power cut at any write cannot damage. The same
//! samples in the same order give the same bytes on every machine.

mod bottleneck;
mod journal;
mod linear;
mod scores;

pub use bottleneck::{Bottleneck, Keys};
pub use journal::{Journal, JournalError};
pub use linear::LinearHead;
pub use scores::UNITS_PER_NAT;

/// A head whose state is rows of equal length, so that a [`Journal`] can keep it.
pub trait Rows {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Bytes of a row.
    fn row_len(&self) -> usize;
    /// Copy row `row` into `to`, which has [`Rows::row_len`] bytes.
    fn get(&self, row: usize, to: &mut [u8]);
    /// Set row `row` from such bytes.
    fn set(&mut self, row: usize, from: &[u8]);
}
