//! Hands the network named by `PEERS_NET` to the macro of microflow, which takes nothing but a literal.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-env-changed=PEERS_NET");
    if env::var_os("CARGO_FEATURE_MICROFLOW").is_none() {
        return;
    }
    let net = env::var("PEERS_NET").expect("PEERS_NET names the .tflite file");
    println!("cargo:rerun-if-changed={net}");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let code = format!("#[microflow_macros::model({net:?})]\npub struct Net;\n");
    fs::write(Path::new(&out).join("net.rs"), code).expect("OUT_DIR is writable");
}
