//! Training, validation and test samples as types of their own: what fits weights takes [`Train`] and nothing else.

use crate::train::Network;
use crate::train::data::Data;
use crate::{Error, Samples};

macro_rules! split {
    ($(#[$doc:meta])* $name:ident, $place:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            pub(super) data: Data,
            pub(super) samples: Samples,
        }

        impl $name {
            /// Take over samples for `network`, in the layout of its file.
            ///
            /// # Errors
            /// Samples or labels that do not fit the network.
            pub fn new(network: &Network, samples: Samples) -> Result<$name, Error> {
                let data = Data::new(network.graph(), &samples).map_err(|e| e.within($place))?;
                data.check_labels(network.width().max(2)).map_err(|e| e.within($place))?;
                Ok($name { data, samples })
            }

            /// Class of every sample.
            pub fn labels(&self) -> &[usize] {
                &self.data.labels
            }
        }
    };
}

split!(
    /// Samples that weights are fitted to.
    Train,
    "training"
);
split!(
    /// Samples that decide which epoch is kept, where pruning stops, and thresholds.
    Val,
    "validation"
);
split!(
    /// Samples that decide nothing.
    Test,
    "test"
);
