//! The section that lists the operating points.

use super::{index, span};
use crate::Error;
use crate::lower::Lowered;
use elastiq::format::{MAX_VARIANTS, VariantRow, VariantsHead};
use zerocopy::IntoBytes;

/// Section for `nets`, whose ports start at rows `starts` of IO and whose operators are `lists`, one after the other.
/// Names are appended to `strings`.
pub fn section(
    nets: &[(&str, &Lowered)],
    starts: &[u16],
    lists: &[u16],
    strings: &mut String,
) -> Result<Vec<u8>, Error> {
    if nets.len() > MAX_VARIANTS {
        let text = format!("{} variants, at most {MAX_VARIANTS} fit", nets.len());
        return Err(Error::input(text));
    }
    let (_, first) = nets[0];
    let head = VariantsHead {
        count: index(nets.len())?.into(),
        ops: index(first.ops.len())?.into(),
        ports: index(first.inputs.len() + first.outputs.len())?.into(),
        pad: 0.into(),
    };
    let mut bytes = head.as_bytes().to_vec();
    for ((name, _), io) in nets.iter().zip(starts) {
        let row = VariantRow {
            name: span(strings.len(), name.len())?,
            io: (*io).into(),
            pad: 0.into(),
        };
        strings.push_str(name);
        bytes.extend(row.as_bytes());
    }
    bytes.extend(lists.iter().flat_map(|op| op.to_le_bytes()));
    Ok(bytes)
}
