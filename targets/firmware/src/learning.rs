//! A recorded session of on-device learning, replayed: the same on the host and on every core.
//!
//! A session is three counts (`u32`, little-endian), then that many samples without labels, samples to learn from and
//! samples to test with. A sample is a byte with its class and the input bytes of the encoder.

use elastiq::format::crc::Crc;
use elastiq::train::{Bottleneck, Keys, LinearHead, Rows};
use elastiq::{Engine, RunError};

/// Features of the encoder, and classes.
const FEATURES: usize = 96;
const CLASSES: usize = 10;

/// Everything that learns: both heads and the keys.
pub struct Learner {
    pub keys: Keys<16, 64, 8>,
    pub bottleneck: Bottleneck<16, 64, CLASSES>,
    pub linear: LinearHead<FEATURES, CLASSES>,
}

const _: () =
    assert!(size_of::<Keys<16, 64, 8>>() + size_of::<Bottleneck<16, 64, CLASSES>>() <= 32 * 1024);
const _: () = assert!(size_of::<LinearHead<FEATURES, CLASSES>>() <= 4 * 1024);

impl Learner {
    /// Nothing learned yet, for features whose zero point is that of a ReLU: -128.
    #[expect(clippy::new_without_default, reason = "for statics")]
    pub const fn new() -> Self {
        Learner {
            keys: Keys::new(-128, 4, 12_345),
            bottleneck: Bottleneck::new(7),
            linear: LinearHead::new(-128, 12),
        }
    }
}

/// What a replay gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub learned: u32,
    pub tested: u32,
    /// Test samples that each head classified right.
    pub bottleneck: u32,
    pub linear: u32,
    /// CRC-32C over keys and rows of both heads.
    pub state: u32,
}

/// Run a session through encoder and heads. `None` if the session is cut short or the encoder has other features.
pub fn replay<const OPS: u32>(
    encoder: &Engine<'_, OPS>,
    arena: &mut [u8],
    learner: &mut Learner,
    session: &[u8],
) -> Option<Replayed> {
    let (counts, mut rest) = session.split_at_checked(12)?;
    let mut counts = counts
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b));
    let (unlabelled, labelled, tested) = (counts.next()?, counts.next()?, counts.next()?);
    let len = encoder.model().inputs().next()?.len;
    let mut features = [0; FEATURES];
    let mut next = |features: &mut [u8; FEATURES]| {
        let (label, tail) = rest.split_first()?;
        let (input, tail) = tail.split_at_checked(len)?;
        rest = tail;
        encode(encoder, arena, input, features).ok()??;
        Some(usize::from(*label))
    };
    for _ in 0..unlabelled {
        next(&mut features)?;
        learner.keys.observe(&features);
    }
    for _ in 0..labelled {
        let label = next(&mut features)?;
        learner.bottleneck.learn(&learner.keys, &features, label);
        learner.linear.learn(&features, label);
    }
    let (mut bottleneck, mut linear) = (0, 0);
    for _ in 0..tested {
        let label = next(&mut features)?;
        bottleneck += u32::from(learner.bottleneck.classify(&learner.keys, &features) == label);
        linear += u32::from(learner.linear.classify(&features) == label);
    }
    Some(Replayed {
        learned: labelled,
        tested,
        bottleneck,
        linear,
        state: state(learner),
    })
}

/// Features of one input: what the last operator reads.
fn encode<const OPS: u32>(
    encoder: &Engine<'_, OPS>,
    arena: &mut [u8],
    input: &[u8],
    features: &mut [u8; FEATURES],
) -> Result<Option<()>, RunError> {
    let Some((last, before)) = encoder.model().ops().split_last() else {
        return Ok(None);
    };
    let mut session = crate::session::start(encoder, input, arena)?;
    for _ in before {
        session.step()?;
    }
    let codes = session.tensor(last.in0.get()).unwrap_or_default();
    features
        .iter_mut()
        .zip(codes)
        .for_each(|(to, code)| *to = *code);
    Ok((codes.len() == FEATURES).then_some(()))
}

fn state(learner: &Learner) -> u32 {
    let keys = learner.keys.bytes();
    let crc = keys.fold(Crc::new(), |crc, byte| crc.update(&[byte]));
    add(add(crc, &learner.bottleneck), &learner.linear).finish()
}

fn add(crc: Crc, head: &impl Rows) -> Crc {
    let mut bytes = [0; 4 * (FEATURES + 1)];
    let row = bytes.get_mut(..head.row_len()).unwrap_or_default();
    (0..head.rows()).fold(crc, |crc, i| {
        head.get(i, row);
        crc.update(row)
    })
}
