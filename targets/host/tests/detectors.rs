//! The detectors of `examples/board`, as images on emulated boards: what they print is what the host finds.

use elastiq_cli::artifact::{Artifact, Host};
use elastiq_cli::boards::board;
use elastiq_cli::data::{Dataset, Split, fetch};
use elastiq_cli::footprint::{embedded, model_file};
use elastiq_cli::image::Image;
use elastiq_cli::qemu::{Program, boot, build};
use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, compile};
use ndarray::Axis;
use std::path::Path;
use std::time::Duration;

struct Detector {
    artifact: Artifact,
    splits: Vec<Split>,
}

/// A row: its class, its input bytes, the output codes for it.
struct Row {
    class: u8,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Detector {
    /// Calibrated with the training rows of `classes`.
    fn new(onnx: &str, data: &str, classes: &[i64]) -> Detector {
        let splits = fetch(data, Path::new("unused")).unwrap_or_else(|e| panic!("{e:?}"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples/board")
            .join(onnx);
        let train = &splits.iter().find(|s| s.name == "train").unwrap().data;
        let labels = train.y.as_ref().unwrap();
        let picks: Vec<usize> = (0..train.n())
            .filter(|&i| classes.contains(&labels[i]))
            .collect();
        let x = train.arrays[0].1.select(Axis(0), &picks);
        let compiled = compile(
            &path,
            &Samples::new(vec![x]),
            &CompileOptions::default(),
            &mut |_, _, _| {},
        );
        let bytes = compiled.unwrap_or_else(|e| panic!("{e}")).bytes;
        let artifact = Artifact::of(&path, bytes).unwrap_or_else(|e| panic!("{e:?}"));
        Detector { artifact, splits }
    }

    fn rows(&self, split: &str) -> Vec<Row> {
        let data: &Dataset = &self.splits.iter().find(|s| s.name == split).unwrap().data;
        let mut host = Host::new(self.artifact.engine().unwrap());
        let ports = self.artifact.ports(host.model()).unwrap();
        let fitted = data.fit(&self.artifact.input_specs(host.model())).unwrap();
        let row = |(i, class): (usize, &i64)| {
            let input = self.artifact.encode(&ports, &fitted, i).unwrap();
            let output = host.run(&input).unwrap().concat();
            Row {
                class: *class as u8,
                input,
                output,
            }
        };
        data.y
            .as_ref()
            .unwrap()
            .iter()
            .enumerate()
            .map(row)
            .collect()
    }

    /// What `program` prints on `name` about `rows`, judged by `words`.
    fn printed(&self, program: &'static str, name: &str, words: &[i32], rows: &[Row]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut recording: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        for row in rows {
            recording.push(row.class);
            recording.extend(&row.input);
        }
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{program}.bin"));
        std::fs::write(&file, recording).unwrap();
        let model = model_file(&embedded(&self.artifact).unwrap()).unwrap();
        let target = board(name).unwrap();
        let env = [
            ("ELASTIQ_MODEL", model.as_os_str()),
            ("ELASTIQ_RECORDING", file.as_os_str()),
        ];
        let elf = build(&target.core, Program::Example(program), &env, &mut |_| {});
        let elf = elf.unwrap_or_else(|e| panic!("{e:?}"));
        let hex = dir.path().join("image.hex");
        std::fs::write(&hex, Image::of(&elf, &target.board).unwrap().hex()).unwrap();
        let text = boot(&target, &[&hex], 1, Duration::from_secs(60));
        text.unwrap_or_else(|e| panic!("{e:?}"))
    }
}

/// Rows of class `of` for which `holds`, and all of that class.
fn count(rows: &[Row], of: u8, holds: impl Fn(&Row) -> bool) -> (usize, usize) {
    let all = rows.iter().filter(|row| row.class == of);
    (all.clone().filter(|row| holds(row)).count(), all.count())
}

/// Wine: the margin that misses one in ten on validation rows; plain arg-max misses most.
#[test]
fn the_alarm_misses_little() {
    let detector = Detector::new("wine_alarm.onnx", "wine", &[0, 1]);
    let margin = |row: &Row| i32::from(row.output[1] as i8) - i32::from(row.output[0] as i8);
    let val = detector.rows("val");
    let mut margins: Vec<i32> = val
        .iter()
        .filter(|row| row.class == 1)
        .map(margin)
        .collect();
    margins.sort_unstable();
    let least = margins[margins.len() / 10];
    let test = detector.rows("test");
    let (missed, alarming) = count(&test, 1, |row| margin(row) < least);
    let (raised, quiet) = count(&test, 0, |row| margin(row) >= least);
    let (by_most, _) = count(&test, 1, |row| margin(row) <= 0);
    let text = detector.printed("alarm", "hifive1", &[least], &test);
    println!("wine, arg-max misses {by_most} of {alarming}; margin {least}: {text}");
    assert_eq!(
        text,
        format!("{missed} of {alarming} missed, {raised} false alarms in {quiet}\n")
    );
    assert!(
        4 * missed < by_most && 2 * raised < quiet,
        "{missed} {by_most} {raised}"
    );
}

/// Breast cancer: an autoencoder of benign rows; the error that one benign validation row in ten exceeds.
#[test]
fn anomalies_are_found() {
    let detector = Detector::new("anomaly.onnx", "breast-cancer", &[1]);
    let engine = detector.artifact.engine().unwrap();
    let (x, y) = (
        engine.model().inputs().next().unwrap().row,
        engine.model().outputs().next().unwrap().row,
    );
    let [of_input, of_output] =
        [x, y].map(|row| (f32::from_bits(row.scale_bits.get()) * 4096.0).round() as i32);
    let error = |row: &Row| -> i32 {
        let code = |unit: i32, byte: u8, zero: i8| unit * (i32::from(byte as i8) - i32::from(zero));
        let pairs = row.input.iter().zip(&row.output);
        pairs
            .map(|(&a, &b)| (code(of_input, a, x.zero) - code(of_output, b, y.zero)).abs())
            .sum()
    };
    let val = detector.rows("val");
    let mut errors: Vec<i32> = val.iter().filter(|row| row.class == 1).map(error).collect();
    errors.sort_unstable();
    let most = errors[errors.len() - 1 - errors.len() / 10];
    let test = detector.rows("test");
    let (found, anomalies) = count(&test, 0, |row| error(row) >= most);
    let (wrong, normal) = count(&test, 1, |row| error(row) >= most);
    let text = detector.printed("anomaly", "microbit", &[of_input, of_output, most], &test);
    println!("breast cancer: {text}");
    assert_eq!(
        text,
        format!(
            "{found} of {anomalies} anomalies found, {wrong} of {normal} normal rows taken for one\n"
        )
    );
    assert!(
        10 * found >= 7 * anomalies && 10 * wrong <= normal,
        "{text}"
    );
}
