//! Feeding a session from one run of bytes, and checking a model against the cases stored in it.

use elastiq::{Engine, OpSet, RunError, Session};

/// A session whose inputs are filled from `input`: all input tensors in IO order.
///
/// # Errors
/// [`RunError::InputLen`] if `input` has not exactly their length, and what [`Engine::start`] refuses.
pub fn start<'e, 'm, const OPS: u32>(
    engine: &'e Engine<'m, OPS>,
    input: &[u8],
    arena: &'e mut [u8],
) -> Result<Session<'e, 'm, OPS>, RunError> {
    let need: usize = engine.model().inputs().map(|io| io.len).sum();
    let wrong = RunError::InputLen {
        need: need as u32,
        have: input.len() as u32,
    };
    let mut session = engine.start(arena)?;
    let mut rest = input;
    for (i, io) in engine.model().inputs().enumerate() {
        let (bytes, tail) = rest.split_at_checked(io.len).ok_or(wrong)?;
        let to = session
            .input_mut(i)
            .filter(|to| to.len() == bytes.len())
            .ok_or(wrong)?;
        to.copy_from_slice(bytes);
        rest = tail;
    }
    if rest.is_empty() {
        Ok(session)
    } else {
        Err(wrong)
    }
}

/// One whole run; outputs stay in the arena. Kept as one function so that its stack can be measured and, by its
/// name in the linked program, computed.
///
/// # Errors
/// As [`start`].
#[inline(never)]
pub fn infer<const OPS: u32>(
    engine: &Engine<'_, OPS>,
    input: &[u8],
    arena: &mut [u8],
) -> Result<(), RunError> {
    start(engine, input, arena)?.finish()
}

/// A sample with its class in front.
pub type Labelled<'r> = (u8, &'r [u8]);

/// A recording of `N` words (`i32`, little-endian) that say how to judge, and samples behind them: a byte with the
/// class, then `len` input bytes. `None` if it is shorter than its words.
pub fn recorded<const N: usize>(
    recording: &[u8],
    len: usize,
) -> Option<([i32; N], impl Iterator<Item = Labelled<'_>>)> {
    let (words, samples) = recording.split_at_checked(4 * N)?;
    let mut read = words
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| i32::from_le_bytes(*b));
    let samples = samples.chunks_exact(len.saturating_add(1));
    let labelled = samples.filter_map(|sample| sample.split_first().map(|(l, x)| (*l, x)));
    Some((core::array::from_fn(|_| read.next().unwrap_or(0)), labelled))
}

/// What a self-test found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTest {
    /// All of this many cases gave the recorded output.
    Passed(u32),
    /// Case `0` gave another output.
    Differs(u32),
    /// Case `0` could not be run.
    Failed(u32, RunError),
}

/// Run the self-test cases stored in the artifact, of every variant, and compare every output byte.
pub fn self_test<const OPS: u32>(engine: &Engine<'_, OPS>, arena: &mut [u8]) -> SelfTest {
    if OPS & OpSet::ELASTIC == 0 {
        return self_test_of(engine, arena, 0);
    }
    let (mut engine, mut cases) = (*engine, 0);
    for i in 0..engine.variants() {
        if let Err(error) = engine.select(i) {
            return SelfTest::Failed(cases, error);
        }
        match self_test_of(&engine, arena, cases) {
            SelfTest::Passed(passed) => cases = passed,
            other => return other,
        }
    }
    SelfTest::Passed(cases)
}

/// [`self_test`] of the chosen variant, `cases` passed before.
fn self_test_of<const OPS: u32>(
    engine: &Engine<'_, OPS>,
    arena: &mut [u8],
    mut cases: u32,
) -> SelfTest {
    for (input, expected) in engine.self_test_cases() {
        let mut rest = expected;
        let mut same = true;
        match start(engine, input, arena).and_then(|mut session| {
            session.finish()?;
            for (i, io) in engine.model().outputs().enumerate() {
                let (want, tail) = rest.split_at_checked(io.len).unwrap_or_default();
                same &= session.output(i) == Some(want);
                rest = tail;
            }
            Ok(())
        }) {
            Ok(()) if same && rest.is_empty() => cases += 1,
            Ok(()) => return SelfTest::Differs(cases),
            Err(error) => return SelfTest::Failed(cases, error),
        }
    }
    SelfTest::Passed(cases)
}
