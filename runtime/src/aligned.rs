//! Artifacts embedded in the program image.

/// A value at a 16-byte boundary, as vector loads of weights want it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(pub T);

/// The artifact at a path (relative to the current file) as `Aligned<[u8; N]>`, a constant expression.
///
/// ```ignore
/// static MODEL: &elastiq::Aligned<[u8]> = &elastiq::include_model!("kws.eqm");
/// ```
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {
        $crate::Aligned(*include_bytes!($path))
    };
}

#[cfg(test)]
mod tests {
    use crate::Aligned;

    static SOURCE: &Aligned<[u8]> = &include_model!("aligned.rs");

    #[test]
    fn included_bytes_are_aligned() {
        assert_eq!(SOURCE.0.as_ptr().addr() % 16, 0);
        assert!(SOURCE.0.starts_with(b"//! Artifacts"));
    }
}
