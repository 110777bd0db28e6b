//! A response body: two bytes choose API and version, the rest is what a broker might send.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_wire::{AnyResponse, ApiKey, Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let [api, version, body @ ..] = data else { return };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    let version = api.versions().start() + i16::from(*version) % api.versions().count() as i16;
    let Ok(response) = AnyResponse::decode(api, version, &mut Reader::new(Bytes::copy_from_slice(body))) else {
        return;
    };
    let mut w = Writer::new();
    response.encode(&mut w, version).expect("what was decoded can be encoded");
    let again = AnyResponse::decode(api, version, &mut Reader::new(w.into_bytes()));
    assert_eq!(format!("{:?}", again.unwrap()), format!("{response:?}"));
});
