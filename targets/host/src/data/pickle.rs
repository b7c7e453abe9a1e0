//! Reader of pickled NumPy objects: lists, dictionaries, strings and numeric arrays.
//!
//! Only data is understood: the three constructors that NumPy writes are known by name and nothing is ever called.

use super::npy::Element;
use ndarray::{ArrayD, IxDyn, ShapeBuilder};

/// Index of an object; containers and the memo refer to objects by it, as BUILD changes them in place.
type Id = usize;

/// An unpickled object.
#[derive(Clone, Debug)]
enum Value {
    Mark,
    None,
    Bool(bool),
    Int(i64),
    Str(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(String),
    Element(Option<Element>),
    /// A numeric array, row-major; `None` where its elements are objects, which then are in the list.
    Array(Option<ArrayD<f64>>, Vec<Id>),
}

/// A whole pickle: its objects and the one at the top.
pub(super) struct Pickle {
    values: Vec<Value>,
    top: Id,
}

impl Pickle {
    /// Reads the pickle inside of a `.npy` file of one object.
    pub(super) fn of_npy(bytes: &[u8]) -> Result<Pickle, String> {
        let rest = bytes
            .strip_prefix(b"\x93NUMPY\x01\x00")
            .ok_or("is not in NumPy format 1.0")?;
        let (len, rest) = rest.split_first_chunk::<2>().ok_or("is cut short")?;
        let body = rest
            .get(u16::from_le_bytes(*len) as usize..)
            .ok_or("is cut short")?;
        let mut reader = Reader {
            bytes: body,
            values: vec![],
            stack: vec![],
            memo: vec![],
        };
        let top = reader.run()?;
        let mut pickle = Pickle {
            values: reader.values,
            top,
        };
        if let Some(Value::Array(None, items)) = pickle.values.get(top) {
            pickle.top = *items.first().ok_or("holds no object")?;
        }
        Ok(pickle)
    }

    fn get(&self, key: &str) -> Result<&Value, String> {
        let Value::Dict(items) = &self.values[self.top] else {
            return Err("holds no dictionary".into());
        };
        let hit = items
            .iter()
            .find(|(k, _)| matches!(&self.values[*k], Value::Str(s) if s == key));
        hit.map(|(_, v)| &self.values[*v])
            .ok_or_else(|| format!("has no entry `{key}`"))
    }

    /// The entry `key` of the top dictionary as one numeric array.
    pub(super) fn array(&self, key: &str) -> Result<&ArrayD<f64>, String> {
        match self.get(key)? {
            Value::Array(Some(a), _) => Ok(a),
            _ => Err(format!("entry `{key}` is no numeric array")),
        }
    }

    /// The entry `key` as a list of numeric arrays.
    pub(super) fn arrays(&self, key: &str) -> Result<Vec<&ArrayD<f64>>, String> {
        let bad = || format!("entry `{key}` is no list of numeric arrays");
        let Value::List(items) = self.get(key)? else {
            return Err(bad());
        };
        let one = |&i: &Id| match &self.values[i] {
            Value::Array(Some(a), _) => Ok(a),
            _ => Err(bad()),
        };
        items.iter().map(one).collect()
    }

    /// The entry `key` as a list of strings.
    pub(super) fn strings(&self, key: &str) -> Result<Vec<String>, String> {
        let bad = || format!("entry `{key}` is no list of strings");
        let Value::List(items) = self.get(key)? else {
            return Err(bad());
        };
        let one = |&i: &Id| match &self.values[i] {
            Value::Str(s) => Ok(s.clone()),
            _ => Err(bad()),
        };
        items.iter().map(one).collect()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    memo: Vec<Option<Id>>,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let op = self.take(1)?[0];
            match op {
                0x80 => drop(self.take(1)?),
                b'.' => return self.pop(),
                b'(' => self.push(Value::Mark),
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Bool(true)),
                0x89 => self.push(Value::Bool(false)),
                b'K' | b'M' | b'J' => {
                    let v = match op {
                        b'K' => self.number(1)? as i64,
                        b'M' => self.number(2)? as i64,
                        _ => i64::from(self.number(4)? as u32 as i32),
                    };
                    self.push(Value::Int(v));
                }
                b'X' => {
                    let n = self.number(4)?;
                    let text = std::str::from_utf8(self.take(n)?)
                        .map_err(|_| "holds a bad string")?
                        .to_string();
                    self.push(Value::Str(text));
                }
                b'B' | b'C' => {
                    let n = self.number(if op == b'B' { 4 } else { 1 })?;
                    let data = self.take(n)?.to_vec();
                    self.push(Value::Bytes(data));
                }
                b'c' => {
                    let name = format!("{} {}", self.line()?, self.line()?);
                    self.push(Value::Global(name));
                }
                b'q' | b'r' => {
                    let slot = self.number(if op == b'q' { 1 } else { 4 })?;
                    let top = *self.stack.last().ok_or("is malformed")?;
                    // A pickle numbers its memo upwards, so a slot far beyond the objects is nonsense.
                    if slot > self.values.len() {
                        return Err("is malformed".into());
                    }
                    if self.memo.len() <= slot {
                        self.memo.resize(slot + 1, None);
                    }
                    self.memo[slot] = Some(top);
                }
                b'h' | b'j' => {
                    let slot = self.number(if op == b'h' { 1 } else { 4 })?;
                    let id = self
                        .memo
                        .get(slot)
                        .copied()
                        .flatten()
                        .ok_or("is malformed")?;
                    self.stack.push(id);
                }
                b')' => self.push(Value::Tuple(vec![])),
                b']' => self.push(Value::List(vec![])),
                b'}' => self.push(Value::Dict(vec![])),
                0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let at = self.stack.len().checked_sub(n).ok_or("is malformed")?;
                    let items = self.stack.split_off(at);
                    self.push(Value::Tuple(items));
                }
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Tuple(items));
                }
                b'a' | b'e' => {
                    let items = if op == b'a' {
                        vec![self.pop()?]
                    } else {
                        self.since_mark()?
                    };
                    match self.top()? {
                        Value::List(list) => list.extend(items),
                        _ => return Err("is malformed".into()),
                    }
                }
                b's' | b'u' => {
                    let items = if op == b'u' {
                        self.since_mark()?
                    } else {
                        let value = self.pop()?;
                        vec![self.pop()?, value]
                    };
                    match self.top()? {
                        Value::Dict(d) => d.extend(items.chunks_exact(2).map(|kv| (kv[0], kv[1]))),
                        _ => return Err("is malformed".into()),
                    }
                }
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                _ => {
                    return Err(format!(
                        "uses pickle operation {op:#04x}, which is not known here"
                    ));
                }
            }
        }
    }

    fn reduce(&mut self) -> Result<(), String> {
        let args = self.pop()?;
        let function = self.pop()?;
        let Value::Tuple(args) = self.values[args].clone() else {
            return Err("is malformed".into());
        };
        let Value::Global(name) = self.values[function].clone() else {
            return Err("is malformed".into());
        };
        let arg = |i: usize| args.get(i).map(|&id| &self.values[id]);
        let made = match (name.as_str(), arg(0), arg(1)) {
            ("_codecs encode", Some(Value::Str(text)), Some(Value::Str(code)))
                if code == "latin1" =>
            {
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                Value::Bytes(
                    bytes
                        .collect::<Result<_, _>>()
                        .map_err(|_| "holds bytes above 255")?,
                )
            }
            ("numpy dtype", Some(Value::Str(descr)), _) => Value::Element(Element::of(descr)),
            ("numpy.core.multiarray _reconstruct" | "numpy._core.multiarray _reconstruct", ..) => {
                Value::Array(None, vec![])
            }
            _ => {
                return Err(format!(
                    "wants to call `{name}`; only plain arrays are read"
                ));
            }
        };
        self.push(made);
        Ok(())
    }

    /// State of an array (version, shape, element type, column-major, data) or of an element type (version, order, ..).
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let Value::Tuple(state) = self.values[state].clone() else {
            return Err("is malformed".into());
        };
        let part = |i: usize| state.get(i).map(|&id| &self.values[id]);
        let made = match (
            self.stack.last().map(|&id| &self.values[id]),
            part(1),
            part(2),
            part(3),
            part(4),
        ) {
            (Some(Value::Element(e)), Some(Value::Str(order)), ..) => {
                Value::Element(e.map(|e| e.with_order(order == ">")))
            }
            (Some(Value::Array(..)), _, _, _, Some(Value::List(items))) => {
                Value::Array(None, items.clone())
            }
            (
                Some(Value::Array(..)),
                Some(Value::Tuple(shape)),
                Some(Value::Element(Some(element))),
                Some(Value::Bool(fortran)),
                Some(Value::Bytes(data)),
            ) => {
                let dim = |&id: &Id| match self.values[id] {
                    Value::Int(n) => usize::try_from(n).ok(),
                    _ => None,
                };
                let shape: Vec<usize> = shape
                    .iter()
                    .map(dim)
                    .collect::<Option<_>>()
                    .ok_or("has a bad shape")?;
                let values = data
                    .chunks_exact(element.size())
                    .map(|b| element.value(b))
                    .collect();
                let array = ArrayD::from_shape_vec(IxDyn(&shape).set_f(*fortran), values)
                    .map_err(|e| format!("has an array of the wrong length: {e}"))?;
                Value::Array(Some(array.as_standard_layout().into_owned()), vec![])
            }
            _ => return Err("holds an object that is no plain array".into()),
        };
        *self.top()? = made;
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "is malformed".to_string())
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        let id = *self.stack.last().ok_or("is malformed")?;
        self.values
            .get_mut(id)
            .ok_or_else(|| "is malformed".to_string())
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let at = self
            .stack
            .iter()
            .rposition(|&id| matches!(self.values[id], Value::Mark))
            .ok_or("is malformed")?;
        let items = self.stack.split_off(at + 1);
        self.stack.truncate(at);
        Ok(items)
    }

    fn take(&mut self, n: usize) -> Result<&[u8], String> {
        let (head, rest) = self.bytes.split_at_checked(n).ok_or("is cut short")?;
        self.bytes = rest;
        Ok(head)
    }

    fn number(&mut self, n: usize) -> Result<usize, String> {
        let bytes = self.take(n)?;
        Ok(bytes.iter().rev().fold(0, |v, &b| v << 8 | usize::from(b)))
    }

    fn line(&mut self) -> Result<String, String> {
        let n = self
            .bytes
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("is cut short")?;
        let text = String::from_utf8_lossy(self.take(n)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00\x01\x00\n".to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    /// `{"v": [array([[1, 2], [3, 4]], int16)], "names": ["a"]}` as protocol 2 writes it, arrays column-major.
    const DICT: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00vq\x01]q\x02cnumpy.core.multiarray\n_reconstruct\n\
        )R(K\x01K\x02K\x02\x86cnumpy\ndtype\nX\x02\x00\x00\x00i2K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNNtb\x88\
        C\x08\x01\x00\x03\x00\x02\x00\x04\x00tbaX\x05\x00\x00\x00names]X\x01\x00\x00\x00aau.";

    #[test]
    fn arrays_and_strings() {
        let p = Pickle::of_npy(&wrap(DICT)).expect("reads");
        let v = p.arrays("v").expect("arrays");
        assert_eq!(v[0].shape(), [2, 2]);
        assert_eq!(
            v[0].iter().copied().collect::<Vec<_>>(),
            [1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(p.strings("names").expect("names"), ["a"]);
        assert!(p.array("v").is_err());
    }

    #[test]
    fn nothing_is_called() {
        let body = b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.";
        let e = Pickle::of_npy(&wrap(body)).err().expect("refused");
        assert!(e.contains("os system"), "{e}");
    }

    #[test]
    fn every_cut_is_an_error() {
        for n in 0..DICT.len() {
            assert!(Pickle::of_npy(&wrap(&DICT[..n])).is_err(), "{n}");
        }
    }
}
