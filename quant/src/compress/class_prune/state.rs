//! State of a pruning in one file, saved after every epoch, complete enough to go on from there.

use super::learner::BestEpoch;
use super::mask::Mask;
use super::report::RowReport;
use super::settings::Settings;
use crate::Error;
use crate::train::frame;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ELQPRUNE";
const FILE: &str = "prune.ckpt";

/// Where a pruning stands, beside its vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// As text, in which every number is what it is.
    settings: String,
    /// Checksums of training, validation and test data.
    pub data: [u32; 3],
    /// Names and shapes of the parameters of the network that is pruned.
    pub params: Vec<(String, Vec<usize>)>,
    /// Rows that are finished.
    pub rows: Vec<RowReport>,
    /// Rounds of the present row that are finished, and the last of them within the budget.
    pub current: Option<RowReport>,
    /// Units per layer, and weights, that the result keeps.
    pub result: Option<(Vec<usize>, usize)>,
    /// Units per layer at the beginning and the end of the present round, where it prunes while it trains.
    pub ramp: Option<[Vec<usize>; 2]>,
    /// Epochs of the present round that are done.
    pub epoch: usize,
    /// Steps of the optimizer in it, parameter by parameter.
    pub steps: Vec<u64>,
    pub best: Option<BestEpoch>,
    pub mask: Option<Mask>,
    /// Lengths of the vectors, group by group.
    lengths: Vec<Vec<usize>>,
}

impl Header {
    /// A pruning that has not begun.
    pub fn new(settings: &Settings, data: [u32; 3], params: Vec<(String, Vec<usize>)>) -> Header {
        Header {
            settings: serde_json::to_string(settings).unwrap_or_default(),
            data,
            params,
            rows: Vec::new(),
            current: None,
            result: None,
            ramp: None,
            epoch: 0,
            steps: Vec::new(),
            best: None,
            mask: None,
            lengths: Vec::new(),
        }
    }
}

/// Vectors of a pruning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    /// Parameters of the round under way, and what the optimizer remembers, parameter by parameter.
    pub params: Vec<Vec<f32>>,
    pub slots: Vec<Vec<f32>>,
    /// Those of its best epoch.
    pub best: Vec<Vec<f32>>,
    /// Weights that rounds start from.
    pub first: Vec<Vec<f32>>,
    /// The best so far of the first row.
    pub result: Vec<Vec<f32>>,
}

impl Vectors {
    fn groups(&self) -> [&Vec<Vec<f32>>; 5] {
        [
            &self.params,
            &self.slots,
            &self.best,
            &self.first,
            &self.result,
        ]
    }
}

/// File of the state in `folder`.
pub fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Write to `folder`, which is made where it is missing; the old state stays until the new one is complete.
///
/// # Errors
/// Names the file.
pub fn save(folder: &Path, mut header: Header, vectors: &Vectors) -> Result<(), Error> {
    let groups = vectors.groups();
    header.lengths = groups.map(|g| g.iter().map(Vec::len).collect()).to_vec();
    let file = file(folder);
    let bytes = frame::bytes(MAGIC, &header, groups.into_iter().flatten())
        .map_err(|text| Error::file(&file, text))?;
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e.to_string()))?;
    frame::write_whole(&file, &bytes)
}

/// Read what [`save`] wrote; `own` is the pruning that wants to go on.
///
/// # Errors
/// Names the file: missing, damaged, of another pruning.
pub fn load(folder: &Path, own: &Header) -> Result<(Header, Vectors), Error> {
    let file = file(folder);
    let fail = |text: String| Error::file(&file, text);
    let bytes = std::fs::read(&file).map_err(|e| fail(e.to_string()))?;
    let (header, values): (Header, Vec<f32>) = frame::parse(MAGIC, &bytes).map_err(fail)?;
    if header.settings != own.settings {
        return Err(fail("belongs to a pruning with other settings".into()));
    }
    if header.data != own.data {
        return Err(fail("belongs to a pruning on other data".into()));
    }
    if header.params != own.params {
        return Err(fail("belongs to the pruning of another network".into()));
    }
    let mut rest = values.into_iter();
    let mut groups = header.lengths.iter().map(|lengths| {
        let take = |&n: &usize| rest.by_ref().take(n).collect::<Vec<f32>>();
        lengths.iter().map(take).collect::<Vec<_>>()
    });
    let mut next = || groups.next().unwrap_or_default();
    let vectors = Vectors {
        params: next(),
        slots: next(),
        best: next(),
        first: next(),
        result: next(),
    };
    let lengths = |g: &Vec<Vec<f32>>| g.iter().map(Vec::len).collect::<Vec<_>>();
    if vectors.groups().map(lengths).to_vec() != header.lengths {
        return Err(fail("is cut off".into()));
    }
    Ok((header, vectors))
}
