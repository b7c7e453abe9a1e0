//! A small artifact made by hand, so that the firmware is tested without the compiler of networks.

use elastiq::format::crc::crc32c;
use elastiq::format::*;
use elastiq::spec::ARITH;
use elastiq::{Engine, OpSet};
use elastiq_fw::session::{infer, start};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of one input of [`artifact`].
pub const INPUT_LEN: usize = 8 * 8 * 4;
const ARENA_LEN: u32 = 768;
const CASES: usize = 3;

/// Pseudo-random bytes, the same for the same seed.
pub fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Conv 3x3 (8 x 8 x 4 to 8 x 8 x 8), MaxPool 2x2, Dense 128 to 10, Softmax; three self-test cases.
pub fn artifact() -> Vec<u8> {
    let cases: Vec<Vec<u8>> = (0..CASES as u32)
        .map(|i| noise(90 + i, INPUT_LEN))
        .collect();
    let bare = pack(&[]);
    let mut self_test = (CASES as u32).to_le_bytes().to_vec();
    for case in cases {
        self_test.extend_from_slice(&case);
        self_test.extend(host_output(&bare, &case));
    }
    pack(&self_test)
}

fn host_output(model: &[u8], input: &[u8]) -> Vec<u8> {
    let engine = Engine::<{ OpSet::ALL }>::new(model).unwrap();
    let mut arena = vec![0; engine.model().arena_len()];
    infer(&engine, input, &mut arena).unwrap();
    let mut session = start(&engine, input, &mut arena).unwrap();
    session.finish().unwrap();
    session.output(0).unwrap().to_vec()
}

fn tensor(dims: [u32; 4], off: u32, lives: [u16; 2], root: u16, zero: i8) -> TensorRow {
    let mut row = TensorRow::new_zeroed();
    row.dims = dims.map(Into::into);
    row.off = off.into();
    row.scale_bits = 1.0f32.to_bits().into();
    row.first = lives[0].into();
    row.last = lives[1].into();
    row.root = root.into();
    row.zero = zero;
    row
}

fn span(off: usize, len: usize) -> Span {
    Span {
        off: (off as u32).into(),
        len: (len as u32).into(),
    }
}

fn op(kind: OpKind, from: u16, to: u16, p: &[u16]) -> OpRow {
    let mut row = OpRow::new_zeroed();
    row.kind = kind as u8;
    row.in0 = from.into();
    row.in1 = NONE.into();
    row.out = to.into();
    (row.lo, row.hi) = (-128, 127);
    if matches!(kind, OpKind::Conv | OpKind::Depthwise | OpKind::Dense) {
        row.bits = 8;
    }
    row.p
        .iter_mut()
        .zip(p)
        .for_each(|(to, from)| *to = (*from).into());
    row
}

fn pack(self_test: &[u8]) -> Vec<u8> {
    let tensors = [
        tensor([1, 8, 8, 4], 0, [0, 0], NONE, -3),
        tensor([1, 8, 8, 8], 256, [0, 1], NONE, 5),
        tensor([1, 4, 4, 8], 0, [1, 2], NONE, 5),
        tensor([1, 1, 1, 128], 0, [1, 2], 2, 5),
        tensor([1, 1, 1, 10], 128, [2, 3], NONE, 0),
        tensor([1, 1, 1, 10], 144, [3, 4], NONE, -128),
    ];
    let (conv_len, dense_len) = (8 * 9 * 4, 10 * 128);
    let mut conv = op(OpKind::Conv, 0, 1, &[3, 3, 1, 1, 1, 1, 1, 1, 1]);
    (conv.weights, conv.quant) = (span(0, conv_len), span(0, 8));
    let pool = op(OpKind::MaxPool, 1, 2, &[2, 2, 2, 2, 1, 1, 0, 0]);
    let mut dense = op(OpKind::Dense, 3, 4, &[]);
    (dense.weights, dense.quant) = (span(conv_len, dense_len), span(8, 10));
    let mut softmax = op(OpKind::Softmax, 4, 5, &[3, 256]);
    softmax.lut = span(0, 512);
    let ops = [conv, pool, dense, softmax];
    let quant: Vec<QuantRow> = (0..18)
        .map(|i| QuantRow {
            bias: (37 * i - 300).into(),
            mult: (2 * (3_000_000 + 111 * i)).into(),
        })
        .collect();
    let luts: Vec<u8> = (0..256u32)
        .flat_map(|d| ((60_000 / (1 + d * d / 8)) as u16).to_le_bytes())
        .collect();
    let weights = noise(7, conv_len + dense_len);
    let io = [(0u16, IO_INPUT), (5, IO_OUTPUT)].map(|(tensor, dir)| IoRow {
        tensor: tensor.into(),
        dir,
        pad: 0,
        name: Span::default(),
        labels: Span::default(),
    });
    let sections: [(SectionKind, &[u8]); 7] = [
        (SectionKind::Tensors, tensors.as_bytes()),
        (SectionKind::Ops, ops.as_bytes()),
        (SectionKind::Quant, quant.as_bytes()),
        (SectionKind::Luts, &luts),
        (SectionKind::Weights, &weights),
        (SectionKind::Io, io.as_bytes()),
        (SectionKind::SelfTest, self_test),
    ];
    frame(&sections, &ops)
}

/// Header, section table, block checksums and body.
fn frame(sections: &[(SectionKind, &[u8])], ops: &[OpRow]) -> Vec<u8> {
    let padded = |len: usize| len.next_multiple_of(ALIGN);
    let body_len: usize = sections.iter().map(|(_, bytes)| padded(bytes.len())).sum();
    let head_len = size_of::<Header>()
        + sections.len() * size_of::<SectionRow>()
        + 4 * body_len.div_ceil(BLOCK);
    let body_off = padded(head_len);
    let (mut rows, mut body) = (vec![], vec![]);
    for (kind, bytes) in sections {
        rows.push(SectionRow {
            kind: (*kind as u16).into(),
            flags: SECTION_MANDATORY.into(),
            off: ((body_off + body.len()) as u32).into(),
            len: (bytes.len() as u32).into(),
        });
        body.extend_from_slice(bytes);
        body.resize(padded(body.len()), 0);
    }
    let mut header = Header::new_zeroed();
    (header.magic, header.major, header.minor, header.arith) = (MAGIC, MAJOR, MINOR, ARITH);
    header.sections = sections.len() as u8;
    header.total_len = ((body_off + body.len()) as u32).into();
    header.arena_len = ARENA_LEN.into();
    header.op_set = ops.iter().fold(0, |set, op| set | 1 << op.kind).into();
    header.body_off = (body_off as u32).into();
    (header.input_len, header.output_len) = ((INPUT_LEN as u32).into(), 10.into());
    (header.tensors, header.ops, header.io) = (6.into(), (ops.len() as u16).into(), 2.into());
    let head = |header: &Header| {
        let mut bytes = [header.as_bytes(), rows.as_bytes()].concat();
        bytes.extend(
            body.chunks(BLOCK)
                .flat_map(|block| crc32c(block).to_le_bytes()),
        );
        bytes.resize(body_off, 0);
        bytes
    };
    header.header_crc = crc32c(&head(&header)).into();
    [head(&header), body.clone()].concat()
}
