//! Where tensors live.

use crate::Error;
use burn::tensor::Device;

/// Processor that a training runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Every core; the same bytes every time.
    #[default]
    Cpu,
    /// The graphics processor that wgpu prefers; needs the feature `gpu`.
    Gpu,
}

impl Place {
    /// The device.
    ///
    /// # Errors
    /// [`Place::Gpu`] in a build without the feature `gpu`.
    pub fn device(self) -> Result<Device, Error> {
        match self {
            Place::Cpu => Ok(Device::flex()),
            #[cfg(feature = "gpu")]
            Place::Gpu => Ok(Device::wgpu(Default::default())),
            #[cfg(not(feature = "gpu"))]
            Place::Gpu => Err(Error::input(
                "device gpu: this program was built without it (cargo feature `gpu`)",
            )),
        }
    }
}
