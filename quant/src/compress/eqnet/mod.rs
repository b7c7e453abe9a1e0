//! Elastic quantization: one training for all widths and formats. EQ-Net (Xu et al., ICCV 2023).

mod bank;
mod forward;
mod given;
mod nested;
mod norm;
mod quantizer;
mod space;
mod start;
mod supernet;
mod train;

pub use nested::{Nested, upper};
pub use quantizer::{Codes, FakeQuant, Line};
pub use space::{
    AverageBits, Format, Layer, LayerConfig, Site, Space, SpaceOptions, SubnetConfig, WIDTHS,
};
pub use supernet::{Evaluator, NETWORK_FILE, Score, Supernet};
pub use train::{Options, TrainedSupernet, scored, train};
