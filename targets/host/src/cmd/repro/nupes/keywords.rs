//! Keyword spotting after training, without labels.

use super::super::Claim;
use super::seed::compile;
use crate::cmd::learning::samples;
use crate::failure::{Failure, Outcome};
use elastiq_quant::compress::nupes::Options;
use elastiq_quant::import;
use std::path::Path;

/// Accuracy of learned weights of 4 and 3 bits on the held-out features in `folder`.
///
/// # Errors
/// Files that are missing or do not fit.
pub fn claims(folder: &Path) -> Outcome<Vec<Claim>> {
    let model = folder.join("kws_dscnn.onnx");
    let graph = import::load(&model).map_err(|e| Failure::at(&model, e))?;
    let data = |name: &str| samples(&graph, &folder.join(name));
    let (calib, dev) = (data("kws_calib.npz")?, data("kws_dev.npz")?);
    let one = |id: &str, bits: u8, points: f64| -> Outcome<Claim> {
        // The labels of the calibration samples are not used.
        let mut unlabelled = calib.clone();
        unlabelled.labels = None;
        let done = compile(&graph, &unlabelled, &dev, &Options::learned(bits))?;
        let output = &done.compiled.report.output;
        let (Some(top1), Some(float)) = (output.top1, output.float_top1) else {
            return Err(Failure::at(folder, "kws_dev.npz has no labels"));
        };
        Ok(Claim::new(
            id,
            &format!(
                "keywords, {bits}-bit weights, 8-bit activations: within {points} points of float"
            ),
            &[top1],
            Some(&[float]),
            |mean, base| mean >= base - points / 100.0,
        ))
    };
    Ok(vec![
        one("keywords_w4a8", 4, 1.0)?,
        one("keywords_w3a8", 3, 2.5)?,
    ])
}
