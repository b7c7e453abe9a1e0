//! The way firmware uses the crate: artifact in the image, sizes and operator set as constants.

mod common;

use common::networks;
use elastiq::{Aligned, Engine, ModelInfo, RunError, include_model};

static MODEL: &Aligned<[u8]> = &include_model!("data/pipeline.eqm");
const INFO: ModelInfo = ModelInfo::of(&MODEL.0);

#[test]
fn constants_size_buffers_and_engine() {
    let engine = Engine::<{ INFO.ops }>::new(&MODEL.0).unwrap();
    let mut arena = [0u8; INFO.arena_len];
    let model = engine.model();
    assert_eq!(model.arena_len(), INFO.arena_len);
    assert_eq!(model.header().total_len.get() as usize, INFO.total_len);
    assert_eq!(
        model
            .outputs()
            .map(|io| (io.name(), io.len))
            .collect::<Vec<_>>(),
        [("y", INFO.output_len)]
    );
    for (input, output) in model.self_test_cases() {
        let mut session = engine.start(&mut arena).unwrap();
        let (a, b) = input.split_at(INFO.input_len);
        session.input_mut(0).unwrap().copy_from_slice(a);
        session.input_mut(1).unwrap().copy_from_slice(b);
        assert_eq!(session.input_mut(2), None);
        for op in 0..model.ops().len() as u16 {
            assert_eq!(session.step(), Ok(Some(op)));
        }
        assert_eq!(session.step(), Ok(None));
        assert_eq!(session.output(0), Some(output));
        assert_eq!(session.output(1), None);
        assert_eq!(session.tensor(2).map(<[u8]>::len), Some(4));
    }
}

#[test]
fn whole_runs_with_one_input() {
    const INFO: ModelInfo = ModelInfo::of(include_bytes!("data/classifier.eqm"));
    let bytes = networks::classifier();
    let engine = Engine::<{ INFO.ops }>::new(&bytes).unwrap();
    let (input, expected) = engine.model().self_test_cases().next().unwrap();
    let input: Vec<i8> = input.iter().map(|byte| *byte as i8).collect();
    let (mut arena, mut output) = ([0; INFO.arena_len + 5], [0; INFO.output_len]);
    engine.run(&mut arena, &input, &mut output).unwrap();
    assert_eq!(output.map(|code| code as u8), expected[..INFO.output_len]);
    assert_eq!(
        engine.model().outputs().next().unwrap().labels(),
        "left\nright\nnone"
    );
}

#[test]
fn wrong_buffers_are_named() {
    let bytes = networks::classifier();
    let engine = Engine::<{ elastiq::OpSet::ALL }>::new(&bytes).unwrap();
    let (mut arena, mut output) = (vec![0; engine.model().arena_len()], [0; 3]);
    let need = arena.len() as u32;
    assert_eq!(
        engine.run(&mut arena, &[0; 59], &mut output),
        Err(RunError::InputLen { need: 60, have: 59 })
    );
    assert_eq!(
        engine.run(&mut arena, &[0; 60], &mut [0; 4]),
        Err(RunError::OutputLen { need: 3, have: 4 })
    );
    let short = engine.run(&mut arena[1..], &[0; 60], &mut output);
    assert_eq!(
        short,
        Err(RunError::ArenaTooSmall {
            need,
            have: need - 1
        })
    );
    let bytes = networks::pipeline();
    let engine = Engine::<{ elastiq::OpSet::ALL }>::new(&bytes).unwrap();
    let error = engine.run(&mut arena, &[0; 24], &mut output).unwrap_err();
    assert_eq!(error, RunError::InputCount { count: 2 });
    assert_eq!(
        error.to_string(),
        "the model has 2 inputs, a single-input run was asked for"
    );
}
