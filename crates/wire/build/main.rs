//! Turns `schema/*.kafka` into one Rust module per API and the API table.
//!
//! `notation` reads the schemas, `emit` writes the messages of one API, `table` what spans all APIs.

mod emit;
mod notation;
mod table;
mod template;

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=schema");
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let apis = notation::read_all("schema".as_ref()).unwrap_or_else(|error| panic!("{error}"));
    for api in &apis {
        fs::write(out.join(format!("{}.rs", api.module())), emit::module(api)).expect("OUT_DIR is writable");
    }
    fs::write(out.join("apis.rs"), table::table(&apis)).expect("OUT_DIR is writable");
}
