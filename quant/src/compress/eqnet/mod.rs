//! Elastic quantization: one training for all widths and formats. EQ-Net (Xu et al., ICCV 2023).

mod space;

pub use space::{
    AverageBits, Format, Layer, LayerConfig, Site, Space, SpaceOptions, SubnetConfig, WIDTHS,
};
