//! Chooses the kernels: `--cfg elastiq_backend="..."` from what the target is sure to have.
//!
//! Unstable target features are not visible to `cfg(target_feature)` on a stable compiler, so the target triple and
//! `-C target-cpu` are looked at as well. `--cfg elastiq_force_scalar` leaves only the portable kernels.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(elastiq_force_scalar)");
    println!(
        "cargo::rustc-check-cfg=cfg(elastiq_backend, values(none(), \"thumb\", \"dsp\", \"helium\", \"rv32\", \"rvv\", \"neon\", \"x86\"))"
    );
    println!("cargo::rustc-check-cfg=cfg(elastiq_armv7m)");
    let text = |key: &str| var(key).unwrap_or_default();
    let flags = text("CARGO_ENCODED_RUSTFLAGS");
    if flags.contains("elastiq_force_scalar") {
        return;
    }
    let features = text("CARGO_CFG_TARGET_FEATURE");
    let has =
        |name: &str| features.split(',').any(|f| f == name) || flags.contains(&format!("+{name}"));
    let cpu = |names: &[&str]| {
        names
            .iter()
            .any(|n| flags.contains(&format!("target-cpu={n}")))
    };
    let target = text("TARGET");
    let backend = match text("CARGO_CFG_TARGET_ARCH").as_str() {
        "arm" if has("mve") || cpu(&["cortex-m55", "cortex-m85", "cortex-m52"]) => "helium",
        "arm"
            if target.starts_with("thumbv7em")
                || has("dsp")
                || cpu(&["cortex-m33", "cortex-m35p"]) =>
        {
            "dsp"
        }
        "arm" if target.starts_with("thumb") => "thumb",
        "riscv32" if has("v") || has("zve32x") => "rvv",
        "riscv32" if has("m") => "rv32",
        "aarch64" if has("neon") && text("CARGO_CFG_TARGET_ENDIAN") == "little" => "neon",
        "x86_64" => "x86",
        _ => return,
    };
    if target.starts_with("thumbv7m") || target.starts_with("thumbv8m.main") {
        println!("cargo::rustc-cfg=elastiq_armv7m");
    }
    println!("cargo::rustc-cfg=elastiq_backend");
    println!("cargo::rustc-cfg=elastiq_backend=\"{backend}\"");
}
