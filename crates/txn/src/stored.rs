//! The stored form, generated from `proto/txn.proto`.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/milena.txn.v1.rs"));
