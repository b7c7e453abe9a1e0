//! What this processor and its operating system offer.

use core::arch::x86_64::{__cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU8, Ordering};

/// Vector instructions that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Level {
    /// Neither of the others.
    None = 1,
    /// AVX2 and BMI2.
    Avx2 = 2,
    /// These and AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni = 3,
}

/// [`Level`] of this machine; 0 before it is known.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level of this machine. Threads that come first at once find the same.
#[inline]
pub(super) fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::None,
        2 => Level::Avx2,
        3 => Level::Avx512Vnni,
        _ => {
            let level = detect();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

#[cold]
fn detect() -> Level {
    let all = |word: u32, bits: &[u32]| bits.iter().all(|bit| word >> bit & 1 == 1);
    #[allow(unused_unsafe, reason = "a safe function in newer compilers")]
    // SAFETY: every x86-64 processor has CPUID.
    let leaf = |leaf: u32| unsafe { __cpuid_count(leaf, 0) };
    let (max, one) = (leaf(0).eax, leaf(1).ecx);
    // OSXSAVE and AVX.
    if max < 7 || !all(one, &[27, 28]) {
        return Level::None;
    }
    // SAFETY: XGETBV exists where OSXSAVE is set.
    let state = unsafe { enabled() };
    let seven = leaf(7);
    // The operating system keeps XMM and YMM; the processor has AVX2 and BMI2.
    if !all(state, &[1, 2]) || !all(seven.ebx, &[5, 8]) {
        return Level::None;
    }
    // It keeps mask registers and both parts of ZMM as well; F, DQ, BW, VL, and VNNI.
    let wide = all(state, &[5, 6, 7]) && all(seven.ebx, &[16, 17, 30, 31]);
    match wide && all(seven.ecx, &[11]) {
        true => Level::Avx512Vnni,
        false => Level::Avx2,
    }
}

/// Register sets that the operating system saves.
#[target_feature(enable = "xsave")]
fn enabled() -> u32 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("bmi2");
        let vnni = avx2
            && std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        let want = match (avx2, vnni) {
            (_, true) => Level::Avx512Vnni,
            (true, _) => Level::Avx2,
            _ => Level::None,
        };
        assert_eq!(level(), want);
        assert_eq!(level(), want);
    }
}
