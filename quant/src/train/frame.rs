//! Files that hold the state of long work: eight letters that name the kind, length of the header (`u64`), header as
//! JSON, vectors as little-endian `f32`, CRC-32C of all before it.

use crate::Error;
use elastiq::format::crc::crc32c;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::path::Path;

/// Contents of a file with `header` and `vectors`, one after the other.
pub fn bytes<'a>(
    magic: &[u8; 8],
    header: &impl Serialize,
    vectors: impl IntoIterator<Item = &'a Vec<f32>>,
) -> Result<Vec<u8>, String> {
    let header = serde_json::to_vec(header).map_err(|e| e.to_string())?;
    let mut bytes = magic.to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for v in vectors.into_iter().flatten() {
        bytes.extend(v.to_le_bytes());
    }
    bytes.extend(crc32c(&bytes).to_le_bytes());
    Ok(bytes)
}

/// Header and all vectors, joined, of what [`bytes`] gave.
///
/// # Errors
/// What is wrong with the contents: another kind of file, damaged, of another version.
pub fn parse<H: DeserializeOwned>(magic: &[u8; 8], bytes: &[u8]) -> Result<(H, Vec<f32>), String> {
    let body = bytes
        .strip_prefix(magic)
        .ok_or("is not a checkpoint of a training")?;
    let (body, crc) = body.split_last_chunk::<4>().ok_or("is cut off")?;
    if u32::from_le_bytes(*crc) != crc32c(&bytes[..bytes.len() - 4]) {
        return Err("is damaged: its checksum does not fit".into());
    }
    let (len, body) = body.split_first_chunk::<8>().ok_or("is cut off")?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| "is cut off")?;
    let (text, blob) = body.split_at_checked(len).ok_or("is cut off")?;
    let header = serde_json::from_slice(text).map_err(|e| format!("is of another version: {e}"))?;
    let values = blob.as_chunks::<4>().0.iter();
    Ok((header, values.map(|b| f32::from_le_bytes(*b)).collect()))
}

/// Write `bytes` to a temporary file next to `path` and rename it.
///
/// # Errors
/// Names the file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        // What is left of the attempt is of no use; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        Error::file(path, e.to_string())
    })
}
