//! What the tests of this folder share: the schemas, and messages made up from them.
//!
//! The bytes come from the notation alone, not from generated code, so a mistake of the generator
//! cannot hide itself.

#![allow(dead_code)]

#[path = "../../build/notation.rs"]
pub mod notation;
pub mod random;

use notation::Api;

/// Every schema, by API key.
pub fn schemas() -> Vec<Api> {
    notation::read_all(concat!(env!("CARGO_MANIFEST_DIR"), "/schema").as_ref()).unwrap()
}
