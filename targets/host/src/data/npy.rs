//! NumPy files: header, element types, archives of arrays.

use super::{Dataset, read_file};
use crate::failure::{Failure, Outcome};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use std::io::{Cursor, Read};
use std::path::Path;

/// No array of a data set is larger than this; a larger one is more likely a broken or hostile archive.
const MAX_BYTES: u64 = 8 << 30;

/// A decoded array, its elements still in their stored type.
pub(super) struct Npy<'a> {
    shape: Vec<usize>,
    fortran: bool,
    element: Element,
    bytes: &'a [u8],
}

/// Stored element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    kind: u8,
    size: usize,
    big: bool,
}

impl Element {
    /// Of a NumPy type string such as `<f4`, `|u1`, `>i8`, `f8`.
    pub(super) fn of(descr: &str) -> Option<Element> {
        let (big, rest) = match descr.as_bytes().split_first()? {
            (b'<' | b'|' | b'=', rest) => (false, rest),
            (b'>', rest) => (true, rest),
            _ => (false, descr.as_bytes()),
        };
        let (&kind, size) = rest.split_first()?;
        let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
        let known = matches!(
            (kind, size),
            (b'f', 4 | 8) | (b'i' | b'u', 1 | 2 | 4 | 8) | (b'b', 1)
        );
        known.then_some(Element { kind, size, big })
    }

    /// The same type in the other byte order where `big`.
    pub(super) fn with_order(self, big: bool) -> Element {
        Element { big, ..self }
    }

    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        self.size
    }

    /// Value of one element; integers above 2^53 are rounded.
    pub(super) fn value(self, bytes: &[u8]) -> f64 {
        let mut raw = [0u8; 8];
        for (i, &b) in bytes.iter().take(self.size).enumerate() {
            raw[if self.big { self.size - 1 - i } else { i }] = b;
        }
        let bits = u64::from_le_bytes(raw);
        let unused = 64 - 8 * self.size as u32;
        match (self.kind, self.size) {
            (b'f', 4) => f64::from(f32::from_bits(bits as u32)),
            (b'f', _) => f64::from_bits(bits),
            (b'i', _) => ((bits << unused) as i64 >> unused) as f64,
            _ => bits as f64,
        }
    }
}

impl<'a> Npy<'a> {
    /// Parses header and extent of a `.npy` file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Npy<'a>, String> {
        let short = || "is cut short".to_string();
        let rest = bytes
            .strip_prefix(b"\x93NUMPY")
            .ok_or("is not in NumPy format")?;
        let (&[major, _minor], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let (len, rest) = if major == 1 {
            let (l, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            (u16::from_le_bytes(*l) as usize, rest)
        } else {
            let (l, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            (u32::from_le_bytes(*l) as usize, rest)
        };
        let (header, bytes) = rest.split_at_checked(len).ok_or_else(short)?;
        let header = std::str::from_utf8(header).map_err(|_| "has a header that is not text")?;
        let descr = field(header, "descr").ok_or("has no element type in its header")?;
        let name = descr.trim_matches(|c| c == '\'' || c == '"');
        let element = Element::of(name).ok_or_else(|| {
            format!("has element type {name}; float32, float64, integers and bool can be read")
        })?;
        let fortran = field(header, "fortran_order").is_some_and(|v| v == "True");
        let shape = field(header, "shape").ok_or("has no shape in its header")?;
        let shape = shape
            .trim_matches(|c| c == '(' || c == ')')
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| {
                s.parse::<usize>()
                    .map_err(|_| format!("has a bad shape ({shape})"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let need = shape
            .iter()
            .try_fold(element.size, |a, &d| a.checked_mul(d));
        match need {
            Some(need) if need <= bytes.len() => Ok(Npy {
                shape,
                fortran,
                element,
                bytes: &bytes[..need],
            }),
            _ => Err(format!(
                "is cut short: shape {shape:?} needs more than its {} bytes",
                bytes.len()
            )),
        }
    }

    /// All elements in row-major order under the stored shape.
    pub(super) fn to_array<T: Clone>(
        &self,
        convert: impl Fn(f64) -> T,
    ) -> Result<ArrayD<T>, String> {
        let values = self
            .bytes
            .chunks_exact(self.element.size)
            .map(|b| convert(self.element.value(b)))
            .collect();
        let shape = IxDyn(&self.shape).set_f(self.fortran);
        let array = ArrayD::from_shape_vec(shape, values).map_err(|e| e.to_string())?;
        Ok(array.as_standard_layout().into_owned())
    }

    /// Elements as class indices; numbers with a fraction are refused.
    fn to_labels(&self) -> Result<Vec<i64>, String> {
        let solid = self.shape.iter().filter(|&&d| d != 1).count();
        if solid > 1 {
            return Err(format!(
                "has shape {:?}; class indices are one number per sample",
                self.shape
            ));
        }
        let values = self.to_array(|v| v)?;
        match values
            .iter()
            .position(|v| v.fract() != 0.0 || !v.is_finite())
        {
            Some(i) => {
                let v = values.iter().nth(i).copied().unwrap_or(f64::NAN);
                Err(format!(
                    "holds {v} at index {i}; class indices are whole numbers"
                ))
            }
            None => Ok(values.iter().map(|&v| v as i64).collect()),
        }
    }
}

/// Text of `'key': value` in a header, up to the comma outside of parentheses.
fn field<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let at = header.find(&format!("'{key}'"))?;
    let rest = header
        .get(at + key.len() + 2..)?
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    let end = if rest.starts_with('(') {
        rest.find(')')? + 1
    } else {
        rest.find([',', '}'])?
    };
    rest.get(..end).map(str::trim)
}

/// `.npy`: one array of samples, no labels.
pub(super) fn load_npy(path: &Path) -> Outcome<Dataset> {
    let bytes = read_file(path)?;
    let x = Npy::parse(&bytes).and_then(|a| a.to_array(|v| v as f32));
    let x = x.map_err(|e| Failure::at(path, format!("array {e}")))?;
    Ok(Dataset {
        file: path.into(),
        arrays: vec![("x".into(), x)],
        y: None,
        classes: vec![],
    })
}

/// `.npz`: `y` is the labels, every other array is samples under its name.
pub(super) fn load_npz(path: &Path) -> Outcome<Dataset> {
    let bytes = read_file(path)?;
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes.as_slice()))
        .map_err(|_| Failure::at(path, "is not a NumPy .npz archive"))?;
    let mut set = Dataset {
        file: path.into(),
        arrays: vec![],
        y: None,
        classes: vec![],
    };
    for i in 0..zip.len() {
        let entry = zip
            .by_index(i)
            .map_err(|e| Failure::at(path, format!("entry {i}: {e}")))?;
        let name = entry
            .name()
            .strip_suffix(".npy")
            .unwrap_or(entry.name())
            .to_string();
        let fail = |e: String| Failure::at(path, format!("array `{name}` {e}"));
        let mut bytes = Vec::new();
        let read = entry.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|e| fail(format!("cannot be read: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(fail("is larger than 8 GiB".into()));
        }
        let array = Npy::parse(&bytes).map_err(fail)?;
        if name == "y" {
            set.y = Some(array.to_labels().map_err(fail)?);
        } else {
            set.arrays
                .push((name.clone(), array.to_array(|v| v as f32).map_err(fail)?));
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn element_types() {
        let cases: [(&str, &[u8], f64); 6] = [
            ("<f4", &1.5f32.to_le_bytes(), 1.5),
            (">f8", &(-2.25f64).to_be_bytes(), -2.25),
            ("<i2", &(-3i16).to_le_bytes(), -3.0),
            (">i4", &(-70_000i32).to_be_bytes(), -70_000.0),
            ("|u1", &[255], 255.0),
            ("|b1", &[1], 1.0),
        ];
        for (descr, data, want) in cases {
            let bytes = npy(descr, false, "(1,)", data);
            let got = Npy::parse(&bytes)
                .expect(descr)
                .to_array(|v| v)
                .expect(descr);
            assert_eq!(got[[0]], want, "{descr}");
        }
    }

    #[test]
    fn fortran_order_is_column_major() {
        let bytes = npy("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        let got = Npy::parse(&bytes)
            .expect("header")
            .to_array(|v| v as u8)
            .expect("array");
        assert_eq!(got.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn claimed_shape_cannot_exceed_the_bytes() {
        for shape in ["(4611686018427387904, 8)", "(3,)"] {
            let bytes = npy("<f8", false, shape, &[0; 16]);
            assert!(Npy::parse(&bytes).is_err(), "{shape}");
        }
        assert!(Npy::parse(&npy("|O", false, "()", &[])).is_err());
    }

    #[test]
    fn labels_are_whole() {
        let bytes = npy(
            "<f4",
            false,
            "(2, 1)",
            &[1.0f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat(),
        );
        assert!(Npy::parse(&bytes).expect("header").to_labels().is_err());
    }
}
