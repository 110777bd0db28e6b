//! A request frame: header, then the body of whatever key and version the header names. What
//! decodes must encode, and decode again to the same value.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_wire::{AnyRequest, Reader, RequestHeader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut r = Reader::new(Bytes::copy_from_slice(data));
    let Ok(header) = RequestHeader::decode(&mut r) else { return };
    let (Some(api), version) = (header.api(), header.api_version) else { return };
    let Ok(request) = AnyRequest::decode(api, version, &mut r) else { return };
    let mut w = Writer::new();
    request.encode(&mut w, version).expect("what was decoded can be encoded");
    let again = AnyRequest::decode(api, version, &mut Reader::new(w.into_bytes()));
    // Compared as text, as a float may be NaN.
    assert_eq!(format!("{:?}", again.unwrap()), format!("{request:?}"));
});
