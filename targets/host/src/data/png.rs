//! Folders of PNG pictures, one folder per class.

use super::{Dataset, read_file};
use crate::failure::{Failure, Outcome, io_text};
use ndarray::{ArrayD, IxDyn};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Loads `folder/CLASS/*.png` as `[n, h, w, c]` with values 0..255; classes are the sorted folder names.
///
/// Pictures are grey (c = 1) or RGB (c = 3), all of one size. Palettes are expanded, 16-bit samples keep their
/// upper byte, an alpha channel must be opaque and is dropped.
pub(super) fn load_folder(folder: &Path) -> Outcome<Dataset> {
    let mut classes: Vec<PathBuf> = list(folder)?.into_iter().filter(|p| p.is_dir()).collect();
    classes.sort();
    if classes.is_empty() {
        return Err(Failure::at(
            folder,
            "holds no folders; expected one folder of PNG per class",
        ));
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut first: Option<([usize; 3], PathBuf)> = None;
    for (class, dir) in classes.iter().enumerate() {
        let mut files: Vec<PathBuf> = list(dir)?.into_iter().filter(|p| has_png_name(p)).collect();
        files.sort();
        if files.is_empty() {
            return Err(Failure::at(dir, "holds no PNG"));
        }
        for file in files {
            let (shape, values) = load_one(&file)?;
            match &first {
                Some((want, other)) if *want != shape => {
                    let what = format!("is {shape:?} (h, w, c), {} is {want:?}", other.display());
                    return Err(Failure::at(&file, what));
                }
                Some(_) => {}
                None => first = Some((shape, file)),
            }
            x.extend(values.into_iter().map(f32::from));
            y.push(class as i64);
        }
    }
    let [h, w, c] = first.map_or([0; 3], |(shape, _)| shape);
    let x = ArrayD::from_shape_vec(IxDyn(&[y.len(), h, w, c]), x)
        .map_err(|e| Failure::at(folder, e))?;
    let name = |p: &PathBuf| {
        p.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    Ok(Dataset {
        file: folder.into(),
        arrays: vec![("x".into(), x)],
        y: Some(y),
        classes: classes.iter().map(name).collect(),
    })
}

fn list(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let fail = |e: std::io::Error| Failure::at(dir, io_text(&e));
    std::fs::read_dir(dir)
        .map_err(fail)?
        .map(|e| e.map(|e| e.path()).map_err(fail))
        .collect()
}

fn has_png_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("png"))
}

fn load_one(path: &Path) -> Outcome<([usize; 3], Vec<u8>)> {
    let fail = |e: png::DecodingError| Failure::at(path, format!("not a readable PNG: {e}"));
    let bytes = read_file(path)?;
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(fail)?;
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| Failure::at(path, "is too large"))?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(fail)?;
    pixels.truncate(info.buffer_size());
    let (stored, kept) = match info.color_type {
        png::ColorType::Grayscale => (1, 1),
        png::ColorType::GrayscaleAlpha => (2, 1),
        png::ColorType::Rgb => (3, 3),
        png::ColorType::Rgba => (4, 3),
        png::ColorType::Indexed => {
            return Err(Failure::at(path, "has a palette that cannot be expanded"));
        }
    };
    if stored > kept {
        if pixels.chunks_exact(stored).any(|p| p[kept] != 255) {
            return Err(Failure::at(
                path,
                "has transparent pixels; save it without an alpha channel",
            ));
        }
        pixels = pixels
            .chunks_exact(stored)
            .flat_map(|p| p[..kept].to_vec())
            .collect();
    }
    Ok(([info.height as usize, info.width as usize, kept], pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, w: u32, h: u32, color: png::ColorType, data: &[u8]) {
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        let mut encoder = png::Encoder::new(std::fs::File::create(path).expect("file"), w, h);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("header");
        writer.write_image_data(data).expect("pixels");
    }

    #[test]
    fn folders_are_classes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        write(
            &dir.path().join("b/1.png"),
            2,
            1,
            png::ColorType::Rgb,
            &[1, 2, 3, 4, 5, 6],
        );
        write(
            &dir.path().join("a/1.PNG"),
            2,
            1,
            png::ColorType::Rgba,
            &[9, 8, 7, 255, 6, 5, 4, 255],
        );
        let set = Dataset::load(dir.path()).expect("loads");
        assert_eq!(set.classes, ["a", "b"]);
        assert_eq!(set.y, Some(vec![0, 1]));
        assert_eq!(set.arrays[0].1.shape(), [2, 1, 2, 3]);
        let want = [9., 8., 7., 6., 5., 4., 1., 2., 3., 4., 5., 6.];
        assert_eq!(set.arrays[0].1.iter().copied().collect::<Vec<f32>>(), want);
    }

    #[test]
    fn sizes_must_agree_and_files_must_be_png() {
        let dir = tempfile::tempdir().expect("temporary directory");
        write(
            &dir.path().join("a/1.png"),
            2,
            1,
            png::ColorType::Grayscale,
            &[1, 2],
        );
        write(
            &dir.path().join("a/2.png"),
            1,
            1,
            png::ColorType::Grayscale,
            &[1],
        );
        let line = Dataset::load(dir.path())
            .expect_err("sizes")
            .line()
            .expect("message");
        assert!(line.contains("2.png: is [1, 1, 1]"), "{line}");
        std::fs::write(dir.path().join("a/2.png"), b"no").expect("write");
        let line = Dataset::load(dir.path())
            .expect_err("not PNG")
            .line()
            .expect("message");
        assert!(line.contains("2.png: not a readable PNG"), "{line}");
    }
}
