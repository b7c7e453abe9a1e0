//! One named case for each thing that `Model::parse` must find.

mod common;

use LoadErrorKind as Kind;
use common::{Builder, networks, seal};
use elastiq::format::*;
use elastiq::{Engine, LoadErrorKind, Model, OpSet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Rows of one section of a sealed artifact.
fn rows<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
    bytes: &mut [u8],
    kind: SectionKind,
) -> &mut [T] {
    let sections = usize::from(bytes[7]);
    let (table, _) = <[SectionRow]>::ref_from_prefix_with_elems(&bytes[64..], sections).unwrap();
    let row = table
        .iter()
        .find(|row| row.kind.get() == kind as u16)
        .unwrap();
    let (off, len) = (row.off.get() as usize, row.len.get() as usize);
    <[T]>::mut_from_bytes(&mut bytes[off..off + len]).unwrap()
}

fn header(bytes: &mut [u8]) -> &mut Header {
    Header::mut_from_prefix(bytes).unwrap().0
}

fn section(bytes: &mut [u8], i: usize) -> &mut SectionRow {
    SectionRow::mut_from_prefix(&mut bytes[64 + 12 * i..])
        .unwrap()
        .0
}

fn tensor(bytes: &mut [u8], i: usize) -> &mut TensorRow {
    &mut rows::<TensorRow>(bytes, SectionKind::Tensors)[i]
}

fn op(bytes: &mut [u8], i: usize) -> &mut OpRow {
    &mut rows::<OpRow>(bytes, SectionKind::Ops)[i]
}

/// Damage the classifier, seal it, and expect to be told so.
fn classifier(kind: Kind, damage: impl FnOnce(&mut Vec<u8>)) {
    expect(networks::classifier(), kind, damage);
}

fn pipeline(kind: Kind, damage: impl FnOnce(&mut Vec<u8>)) {
    expect(networks::pipeline(), kind, damage);
}

fn expect(mut bytes: Vec<u8>, kind: Kind, damage: impl FnOnce(&mut Vec<u8>)) {
    damage(&mut bytes);
    seal(&mut bytes);
    assert_eq!(
        Model::parse(&bytes).map(|_| ()).map_err(|e| e.kind),
        Err(kind)
    );
}

#[test]
fn headers() {
    assert_eq!(Model::parse(&[]).unwrap_err().kind, Kind::TooShort);
    classifier(Kind::Magic, |b| b[0] = b'X');
    classifier(Kind::Version, |b| header(b).major = 2);
    classifier(Kind::Arith, |b| header(b).arith = 2);
    classifier(Kind::Length, |b| b.push(0));
    classifier(Kind::Length, |b| header(b).body_off.set(1 << 30));
    classifier(Kind::Count, |b| header(b).tensors.set(3));
    classifier(Kind::Count, |b| header(b).ops.set(3));
    classifier(Kind::Count, |b| header(b).io.set(1));
    classifier(Kind::Count, |b| header(b).input_len.set(61));
    classifier(Kind::Count, |b| header(b).output_len.set(2));
    classifier(Kind::Count, |b| header(b).scratch_len.set(1 << 20));
    classifier(Kind::Range, |b| header(b).arena_len.set(u32::MAX));
    classifier(Kind::Range, |b| header(b).arena_len.set(338));
    classifier(Kind::OpSet, |b| {
        header(b).op_set.set(OpSet::ALL & !OpSet::PARTS);
    });
    classifier(Kind::NotLinked, |b| header(b).op_set.set(1 << 14));
    classifier(Kind::OpSet, |b| header(b).op_set.set(OpSet::ELASTIC));
}

#[test]
fn a_later_minor_version_with_an_optional_section_is_read() {
    let mut bytes = networks::classifier();
    header(&mut bytes).minor = 9;
    let last = usize::from(header(&mut bytes).sections) - 1;
    section(&mut bytes, last).kind.set(77);
    section(&mut bytes, last).flags.set(0);
    seal(&mut bytes);
    assert_eq!(Model::parse(&bytes).unwrap().meta(), None);
}

#[test]
fn checksums_name_the_block() {
    let mut bytes = networks::classifier();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    let error = Model::parse(&bytes).unwrap_err();
    let body = header(&mut bytes).body_off.get();
    assert_eq!((error.kind, error.offset), (Kind::BlockCrc, body));
    bytes[41] ^= 1;
    assert_eq!(Model::parse(&bytes).unwrap_err().kind, Kind::HeaderCrc);
}

#[test]
fn sections() {
    classifier(Kind::UnknownSection, |b| section(b, 2).kind.set(99));
    classifier(Kind::Section, |b| {
        section(b, 2).kind.set(SectionKind::Ops as u16)
    });
    classifier(Kind::Section, |b| {
        let off = section(b, 0).off.get();
        section(b, 2).off.set(off);
    });
    classifier(Kind::Section, |b| {
        let off = section(b, 2).off.get();
        section(b, 2).off.set(off + 1);
    });
    classifier(Kind::Section, |b| section(b, 2).off.set(0));
    classifier(Kind::Section, |b| section(b, 2).len.set(u32::MAX));
    classifier(Kind::Count, |b| {
        let len = section(b, 0).len.get();
        section(b, 0).len.set(len - 1);
    });
    classifier(Kind::Utf8, |b| rows::<u8>(b, SectionKind::Meta)[0] = 0xFF);
    classifier(Kind::SelfTest, |b| {
        rows::<u8>(b, SectionKind::SelfTest)[0] = 3
    });
}

#[test]
fn more_rows_than_a_reader_compares_are_refused() {
    let mut b = Builder::default();
    let x = b.tensor([1, 1, 1, 1], 0);
    for _ in 0..MAX_ROWS {
        b.constant([1, 1, 1, 1], 0, &[0]);
    }
    b.input(x, "x");
    b.output(x, "y", "");
    expect(b.build(), Kind::Count, |_| {});
}

#[test]
fn tensors() {
    classifier(Kind::Dims, |b| tensor(b, 1).dims[2].set(0));
    classifier(Kind::Dims, |b| {
        tensor(b, 1).dims = [1 << 16; 4].map(|dim: u32| dim.into())
    });
    classifier(Kind::Dtype, |b| tensor(b, 1).dtype = 2);
    classifier(Kind::Range, |b| tensor(b, 1).off.set(u32::MAX));
    classifier(Kind::Range, |b| tensor(b, 1).place = PLACE_CONST);
    classifier(Kind::Range, |b| tensor(b, 1).place = 2);
    pipeline(Kind::Range, |b| tensor(b, 2).off.set(1 << 20));
    // Tensor 3 of the classifier is a view of tensor 2.
    classifier(Kind::View, |b| tensor(b, 3).root.set(999));
    classifier(Kind::View, |b| tensor(b, 3).root.set(3));
    classifier(Kind::View, |b| tensor(b, 3).root.set(1));
    classifier(Kind::View, |b| tensor(b, 3).off.set(0));
    classifier(Kind::View, |b| tensor(b, 3).dims[3].set(3));
}

#[test]
fn lifetimes() {
    // Used before it is written, after it is gone, written later than said, or for ever.
    classifier(Kind::Lifetime, |b| tensor(b, 1).last.set(1));
    classifier(Kind::Lifetime, |b| tensor(b, 1).first.set(1));
    classifier(Kind::Lifetime, |b| tensor(b, 4).first.set(2));
    classifier(Kind::Lifetime, |b| tensor(b, 1).last.set(99));
    classifier(Kind::Lifetime, |b| {
        let row = tensor(b, 1);
        (row.first, row.last) = (2.into(), 1.into());
    });
    // Outputs stay until the end, inputs are there from the start.
    classifier(Kind::Lifetime, |b| tensor(b, 7).last.set(6));
    pipeline(Kind::Lifetime, |b| tensor(b, 1).first.set(1));
    // Reads its own output before anything has been written.
    let mut b = Builder::default();
    let (x, t) = (b.tensor([1, 1, 1, 4], 0), b.tensor([1, 1, 1, 4], 0));
    let y = b.view(t, [1, 1, 1, 4], 0);
    let lut = b.lut(&[0; 256]);
    b.op(OpKind::Lut, t, y, &[], |op| op.lut = lut);
    b.input(x, "x");
    b.output(y, "y", "");
    expect(b.build(), Kind::Lifetime, |_| {});
}

#[test]
fn overlaps() {
    // Convolution over its own input; an output under a tensor that is still needed.
    classifier(Kind::Overlap, |b| tensor(b, 1).off.set(59));
    classifier(Kind::Overlap, |b| {
        for i in [2, 3] {
            tensor(b, i).off.set(179);
        }
    });
    // Scratch under an operand.
    classifier(Kind::Overlap, |b| op(b, 0).scratch.off.set(179));
    classifier(Kind::Range, |b| op(b, 0).scratch.len.set(1 << 20));
    // In place, where the operator cannot: output of MaxPool over the root of its input.
    let mut b = Builder::default();
    let x = b.tensor([1, 2, 2, 1], 0);
    let y = b.view(x, [1, 2, 2, 1], 0);
    b.op(OpKind::MaxPool, x, y, &[1, 1, 1, 1, 1, 1, 0, 0], |_| {});
    b.input(x, "x");
    b.output(y, "y", "");
    expect(b.build(), Kind::Overlap, |_| {});
    // Over the second operand of Add.
    let mut b = Builder::default();
    let (x1, x2) = (b.tensor([1, 1, 1, 4], 0), b.tensor([1, 1, 1, 4], 0));
    let y = b.view(x2, [1, 1, 1, 4], 0);
    let q = b.quant(&[(0, 0)]);
    b.op(OpKind::Add, x1, y, &[1, 1, 1], |op| {
        (op.in1, op.quant) = (x2.into(), q)
    });
    b.input(x1, "x1");
    b.input(x2, "x2");
    b.output(y, "y", "");
    expect(b.build(), Kind::Overlap, |_| {});
}

#[test]
fn operators() {
    classifier(Kind::OpKind, |b| op(b, 0).kind = 14);
    classifier(Kind::OpKind, |b| op(b, 3).coding = 1);
    classifier(Kind::OpKind, |b| op(b, 0).flags = 1);
    classifier(Kind::Operand, |b| op(b, 0).in0.set(500));
    pipeline(Kind::Operand, |b| op(b, 5).out.set(2));
    classifier(Kind::Operand, |b| op(b, 2).in1.set(NONE));
    classifier(Kind::Dtype, |b| op(b, 6).kind = OpKind::Lut as u8);
    classifier(Kind::Param, |b| op(b, 0).shift = 16);
    classifier(Kind::Param, |b| (op(b, 0).lo, op(b, 0).hi) = (1, 0));
    for i in 0..6 {
        classifier(Kind::Param, |b| op(b, 0).p[i].set(0));
    }
    classifier(Kind::Param, |b| op(b, 0).p[8].set(3));
    classifier(Kind::Param, |b| op(b, 0).p[8].set(0));
    classifier(Kind::Span, |b| op(b, 0).p[8].set(2));
    classifier(Kind::Param, |b| op(b, 2).p[2].set(24));
    classifier(Kind::Param, |b| op(b, 6).p[0].set(4));
    classifier(Kind::Shape, |b| {
        tensor(b, 8).dims = [1, 1, 3, 1].map(|dim: u32| dim.into())
    });
    classifier(Kind::Span, |b| op(b, 0).weights.len.set(71));
    classifier(Kind::Span, |b| op(b, 1).weights.off.set(81));
    classifier(Kind::Span, |b| op(b, 1).weights.off.set(1 << 20));
    classifier(Kind::Span, |b| op(b, 0).quant.len.set(3));
    classifier(Kind::Span, |b| op(b, 4).quant.len.set(3));
    classifier(Kind::Span, |b| op(b, 7).lut.len.set(256));
    classifier(Kind::Table, |b| {
        rows::<QuantRow>(b, SectionKind::Quant)[0].mult.set(3)
    });
    classifier(Kind::Table, |b| {
        rows::<QuantRow>(b, SectionKind::Quant)[0].mult.set(-2)
    });
    pipeline(Kind::Table, |b| {
        let lut = op(b, 6).lut.off.get() as usize;
        rows::<u8>(b, SectionKind::Luts)[lut] = 4;
    });
    pipeline(Kind::Param, |b| op(b, 2).p[0].set(4));
    pipeline(Kind::Param, |b| op(b, 4).p[8].set(0));
    pipeline(Kind::Param, |b| op(b, 4).p[13].set(5));
    pipeline(Kind::Param, |b| op(b, 7).p[9].set(u16::MAX));
    pipeline(Kind::Shape, |b| op(b, 2).p[1].set(2));
}

/// Conv (op 0) has 4 bits and zero points per channel, Depthwise (op 1) a 3-bit codebook, Dense (op 5) pairs of rows.
#[test]
fn weights() {
    for i in [0, 1, 5] {
        for bits in [1, 9, 255] {
            classifier(Kind::Param, |b| op(b, i).bits = bits);
        }
        classifier(Kind::Param, |b| op(b, i).order = 2);
        classifier(Kind::Param, |b| op(b, i).coding = 3);
    }
    classifier(Kind::OpKind, |b| op(b, 0).bits = 0);
    classifier(Kind::Param, |b| op(b, 1).bits = 0);
    classifier(Kind::Span, |b| op(b, 0).bits = 5);
    classifier(Kind::Span, |b| op(b, 1).bits = 8);
    // Pairs are 8-bit rows; what is a channel of Depthwise lies across its rows.
    classifier(Kind::Param, |b| op(b, 0).order = ORDER_PAIRS);
    classifier(Kind::Param, |b| op(b, 5).bits = 7);
    classifier(Kind::Param, |b| {
        let row = op(b, 1);
        (row.bits, row.order) = (8, ORDER_PAIRS);
    });
    // A missing third row is there.
    classifier(Kind::Span, |b| op(b, 5).weights.len.set(24));
    // Only weights have a width, an order and a coding.
    for i in [2, 3, 4, 6, 7] {
        classifier(Kind::OpKind, |b| op(b, i).bits = 8);
        classifier(Kind::OpKind, |b| op(b, i).order = ORDER_PAIRS);
        classifier(Kind::OpKind, |b| op(b, i).coding = CODING_CODEBOOK);
        classifier(Kind::OpKind, |b| op(b, i).flags = FLAG_ZEROS);
    }
}

#[test]
fn zero_points_and_codebooks() {
    for len in [0, 6, 7, 10] {
        classifier(Kind::Span, |b| op(b, 0).lut.len.set(len));
    }
    for len in [0, 14, 15, 17] {
        classifier(Kind::Span, |b| op(b, 1).lut.len.set(len));
    }
    for i in [0, 1] {
        classifier(Kind::Span, |b| op(b, i).lut.off.set(u32::MAX));
        classifier(Kind::Span, |b| op(b, i).lut.off.set(1 << 20));
    }
    // One kind of zero point at a time, and none with a codebook.
    classifier(Kind::Param, |b| op(b, 0).w_zero.set(1));
    classifier(Kind::Param, |b| op(b, 1).w_zero.set(1));
    classifier(Kind::Param, |b| op(b, 0).flags = 0);
    classifier(Kind::Param, |b| op(b, 1).flags = FLAG_ZEROS);
    classifier(Kind::Param, |b| op(b, 0).coding = CODING_CODEBOOK);
    classifier(Kind::Param, |b| op(b, 1).coding = CODING_LINEAR);
    classifier(Kind::Param, |b| op(b, 5).lut.len.set(2));
    // Zero points are codes of the width.
    for zero in [8, -9, i16::MAX, i16::MIN] {
        classifier(Kind::Table, |b| {
            let at = op(b, 0).lut.off.get() as usize + 2;
            rows::<u8>(b, SectionKind::Luts)[at..at + 2].copy_from_slice(&zero.to_le_bytes());
        });
    }
    for zero in [128, -129, i16::MAX, i16::MIN] {
        classifier(Kind::Table, |b| op(b, 5).w_zero.set(zero));
    }
}

#[test]
fn codings_are_part_of_the_operator_set() {
    for coding in [OpSet::LOW_BITS, OpSet::CODEBOOK] {
        let set = |b: &mut Vec<u8>| header(b).op_set.get();
        classifier(Kind::OpSet, |b| {
            let less = set(b) & !coding;
            header(b).op_set.set(less);
        });
        pipeline(Kind::OpSet, |b| {
            let more = set(b) | coding;
            header(b).op_set.set(more);
        });
    }
    let without = |bytes: &[u8]| {
        [
            Engine::<{ OpSet::ALL & !OpSet::LOW_BITS }>::new(bytes).unwrap_err(),
            Engine::<{ OpSet::ALL & !OpSet::CODEBOOK }>::new(bytes).unwrap_err(),
        ]
        .map(|error| (error.kind, error.offset))
    };
    let mut bytes = networks::classifier();
    assert_eq!(without(&bytes), [(Kind::NotLinked, 16); 2]);
    // A header that hides them does not help.
    header(&mut bytes).op_set.set(0);
    seal(&mut bytes);
    let ops = section(&mut bytes, 1).off.get();
    let first = [(Kind::NotLinked, ops), (Kind::NotLinked, ops + 80)];
    assert_eq!(without(&bytes), first);
}

#[test]
fn inputs_and_outputs() {
    let io =
        |b: &mut Vec<u8>, i: usize, edit: fn(&mut IoRow)| edit(&mut rows(b, SectionKind::Io)[i]);
    classifier(Kind::Io, |b| io(b, 1, |row| row.tensor.set(99)));
    classifier(Kind::Io, |b| io(b, 1, |row| row.dir = 2));
    classifier(Kind::Io, |b| io(b, 1, |row| row.name.len.set(1000)));
    classifier(Kind::Io, |b| io(b, 1, |row| row.labels.off.set(u32::MAX)));
    pipeline(Kind::Io, |b| io(b, 2, |row| row.tensor.set(2)));
    let mut b = Builder::default();
    let (x, wide) = (b.tensor([1, 1, 1, 1], 0), b.tensor_i32([1, 1, 1, 1]));
    b.input(x, "x");
    b.input(wide, "wide");
    b.output(x, "y", "");
    expect(b.build(), Kind::Dtype, |_| {});
    let mut b = Builder::default();
    let x = b.tensor([1, 1, 1, 1], 0);
    b.input(x, "x");
    expect(b.clone().build(), Kind::Io, |_| {});
    b.output(x, "y", "");
    assert!(Model::parse(&b.build()).is_ok());
}

#[test]
fn an_engine_refuses_operators_that_it_does_not_link() {
    let bytes = networks::classifier();
    let error = Engine::<{ OpKind::Conv.bit() }>::new(&bytes).unwrap_err();
    assert_eq!((error.kind, error.offset), (Kind::NotLinked, 16));
    assert_eq!(
        error.to_string(),
        "model needs operators that this engine does not link (byte 16)"
    );
}

/// Every way in which a section of variants can lie, and the byte that is named.
#[test]
fn variants() {
    let start = |b: &mut Vec<u8>| {
        let sections = usize::from(b[7]);
        let all = (0..sections).map(|i| *section(b, i)).collect::<Vec<_>>();
        let row = all
            .iter()
            .find(|row| row.kind.get() == SectionKind::Variants as u16);
        row.unwrap().off.get()
    };
    // Head of 8 bytes, three rows of 12, three lists of 3 operators.
    let lists = 8 + 3 * 12;
    let at = |kind: Kind, place: u32, value: u16| {
        let mut bytes = networks::elastic();
        let first = start(&mut bytes);
        rows::<u8>(&mut bytes, SectionKind::Variants)[place as usize..][..2]
            .copy_from_slice(&value.to_le_bytes());
        seal(&mut bytes);
        let error = Model::parse(&bytes).unwrap_err();
        assert_eq!(error.kind, kind, "byte {place}: {value}");
        error.offset.checked_sub(first)
    };
    // Counts that are not those of the section.
    for count in [0, 1, 2, 4, 65, u16::MAX] {
        assert_eq!(at(Kind::Variant, 0, count), Some(0));
    }
    for ops in [0, 2, 4, u16::MAX] {
        assert_eq!(at(Kind::Variant, 2, ops), Some(0));
    }
    for (ports, row) in [(0, 2), (1, 2), (3, 2), (4, 2), (5, 0), (u16::MAX, 0)] {
        assert_eq!(at(Kind::Variant, 4, ports), Some(8 + 12 * row));
    }
    // Names outside of the strings, ports outside of IO or of another direction.
    assert_eq!(at(Kind::Variant, 8 + 12, u16::MAX), Some(8 + 12));
    for io in [1, 3, 4, u16::MAX] {
        assert_eq!(at(Kind::Variant, 8 + 12 + 8, io), Some(8 + 12));
    }
    // Operators that are not there, and rows that no variant uses.
    for op in [7, 8, u16::MAX] {
        assert_eq!(at(Kind::Variant, lists, op), Some(lists));
        assert_eq!(at(Kind::Variant, lists + 12, op), Some(lists + 12));
    }
    assert_eq!(at(Kind::Variant, lists + 16, 0), Some(0));
    // An order in which one operator is skipped: what it writes is read, or given out.
    at(Kind::Lifetime, lists + 8, 2);
    at(Kind::Lifetime, lists + 10, 1);
}

#[test]
fn variants_are_part_of_the_operator_set() {
    let mut bytes = networks::elastic();
    expect(networks::elastic(), Kind::OpSet, |b| {
        let less = header(b).op_set.get() & !OpSet::ELASTIC;
        header(b).op_set.set(less);
    });
    expect(networks::classifier(), Kind::OpSet, |b| {
        let more = header(b).op_set.get() | OpSet::ELASTIC;
        header(b).op_set.set(more);
    });
    let without = |bytes: &[u8]| {
        let error = Engine::<{ OpSet::ALL & !OpSet::ELASTIC }>::new(bytes).unwrap_err();
        (error.kind, error.offset)
    };
    assert_eq!(without(&bytes), (Kind::NotLinked, 16));
    // A header that hides them does not help: the section is found, by its row in the table.
    header(&mut bytes).op_set.set(0);
    seal(&mut bytes);
    assert_eq!(without(&bytes), (Kind::NotLinked, 64 + 12 * 7));
    // Nor does it without the section: nested weights are found, in the fourth operator.
    let ops = section(&mut bytes, 1).off.get();
    let row = section(&mut bytes, 7);
    (row.kind, row.flags) = (99.into(), 0.into());
    seal(&mut bytes);
    assert_eq!(without(&bytes), (Kind::NotLinked, ops + 3 * 80));
}

#[test]
fn nested_weights() {
    let expect = |kind, damage: fn(&mut Vec<u8>)| expect(networks::elastic(), kind, damage);
    // Conv of the second variant has 4 bits, Dense of the third 3.
    expect(Kind::Param, |b| op(b, 3).bits = 8);
    expect(Kind::Param, |b| op(b, 3).bits = 1);
    expect(Kind::Param, |b| op(b, 3).w_zero.set(1));
    expect(Kind::Param, |b| op(b, 3).flags = FLAG_ZEROS);
    expect(Kind::Span, |b| op(b, 3).lut.len.set(2));
    expect(Kind::Span, |b| op(b, 3).weights.len.set(36));
    expect(Kind::Span, |b| op(b, 6).weights.len.set(48));
    expect(Kind::Param, |b| op(b, 6).coding = CODING_LINEAR);
}

#[test]
fn an_engine_switches_between_variants() {
    let bytes = networks::elastic();
    let mut engine = Engine::<{ OpSet::ALL }>::new(&bytes).unwrap();
    let names: Vec<_> = (0..4).map(|i| engine.variant_name(i)).collect();
    assert_eq!(names, [Some("8"), Some("4"), Some("2"), None]);
    let cases = |engine: &Engine<'_, { OpSet::ALL }>| {
        let pair = |(x, y): (&[u8], &[u8])| (x.to_vec(), y.to_vec());
        engine
            .model()
            .self_test_cases()
            .map(pair)
            .collect::<Vec<_>>()
    };
    let mut arena = vec![0; engine.model().arena_len()];
    let mut outputs = vec![];
    for i in [2, 0, 1, 0, 2, 1] {
        engine.select(i).unwrap();
        assert_eq!(engine.model().variant(), i);
        for (x, want) in cases(&engine) {
            let mut y = [0i8; 3];
            let x: Vec<i8> = x.iter().map(|x| *x as i8).collect();
            engine.run(&mut arena, &x, &mut y).unwrap();
            assert_eq!(y.as_bytes(), want);
            outputs.push(y);
        }
    }
    assert!(outputs[0] != outputs[2] && outputs[2] != outputs[4] && outputs[0] != outputs[4]);
    let error = engine.select(3).unwrap_err();
    assert_eq!(error, elastiq::RunError::NoVariant { index: 3, count: 3 });
    assert_eq!(
        error.to_string(),
        "the model has 3 variants, there is none with index 3"
    );
    assert_eq!(engine.model().variant(), 1, "the chosen one stays");
    // An artifact without the section has one.
    let bytes = networks::classifier();
    let mut engine = Engine::<{ OpSet::ALL }>::new(&bytes).unwrap();
    assert_eq!(
        (
            engine.variants(),
            engine.variant_name(0),
            engine.variant_name(1)
        ),
        (1, Some(""), None)
    );
    assert!(engine.select(0).is_ok() && engine.select(1).is_err());
}
