//! The stored form, generated from `proto/group.proto`, and its crossings to the types of this crate.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/milena.group.v1.rs"));
