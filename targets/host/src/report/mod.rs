//! One page about a folder of results: what `compile`, `inspect`, `eval`, `bench`, `supernet`, `prune` and `repro` printed
//! with `--json`, and artifacts.

mod elements;
mod page;
mod plots;
mod results;

pub use page::{best, page};
pub use plots::{Aim, pareto};
pub use results::{Network, Results};
