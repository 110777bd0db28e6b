use super::*;
use crate::{
    api_versions::ApiVersionsResponse,
    heartbeat::{HeartbeatRequest, HeartbeatResponse},
};

fn joined(parts: Vec<Bytes>) -> Vec<u8> {
    parts.concat()
}

#[test]
fn request_headers_by_version() {
    let request = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    // Version 3 is fixed, version 4 flexible: the client id keeps its int16 length in both.
    let v3 = joined(encode_request(&request, 3, 9, Some("me")).unwrap());
    assert_eq!(
        v3,
        [0, 0, 0, 24, 0, 12, 0, 3, 0, 0, 0, 9, 0, 2, b'm', b'e']
            .into_iter()
            .chain([0, 1, b'g', 0, 0, 0, 0, 0, 1, b'm', 0xff, 0xff])
            .collect::<Vec<u8>>()
    );
    let v4 = joined(encode_request(&request, 4, 9, None).unwrap());
    assert_eq!(
        v4,
        [0, 0, 0, 21, 0, 12, 0, 4, 0, 0, 0, 9, 0xff, 0xff, 0]
            .into_iter()
            .chain([2, b'g', 0, 0, 0, 0, 2, b'm', 0, 0])
            .collect::<Vec<u8>>()
    );
}

#[test]
fn decoded_header_leaves_the_body() {
    let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    for version in 0..=4 {
        let frame = joined(encode_request(&request, version, 7, Some("me")).unwrap());
        let mut r = Reader::new(frame[SIZE_LENGTH..].to_vec());
        let want = RequestHeader {
            api_key: 12,
            api_version: version,
            correlation_id: 7,
            client_id: Some("me".into()),
        };
        assert_eq!(RequestHeader::decode(&mut r), Ok(want));
        assert_eq!(HeartbeatRequest::decode(&mut r, version), Ok(request.clone()));
        assert_eq!(r.remaining(), 0);
    }
}

#[test]
fn header_of_an_unknown_api_gives_its_correlation_id() {
    let header =
        RequestHeader::decode(&mut Reader::new(&[0x7f, 0, 0, 1, 0, 0, 0, 5, 0xff, 0xff][..])).unwrap();
    assert_eq!((header.api(), header.api_key, header.correlation_id), (None, 0x7f00, 5));
}

#[test]
fn short_headers_are_refused() {
    let whole = [0, 18, 0, 3, 0, 0, 0, 5, 0, 1, b'c', 0];
    for end in 0..whole.len() {
        let header = RequestHeader::decode(&mut Reader::new(whole[..end].to_vec()));
        assert!(header.is_err(), "cut at {end}: {header:?}");
    }
}

#[test]
fn response_headers_are_flexible_except_for_api_versions() {
    let heartbeat = HeartbeatResponse { throttle_time_ms: 1, error_code: 25 };
    let v3 = joined(encode_response(&heartbeat, 3, 9).unwrap());
    assert_eq!(v3, [0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 1, 0, 25]);
    let v4 = joined(encode_response(&heartbeat, 4, 9).unwrap());
    assert_eq!(v4, [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 25, 0]);

    // Default tagged fields are not written: librdkafka before 2.3 cannot read them.
    let v3 = joined(encode_response(&ApiVersionsResponse::default(), 3, 9).unwrap());
    assert_eq!(v3, [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn responses_are_decoded_with_their_header() {
    let heartbeat = HeartbeatResponse { throttle_time_ms: 1, error_code: 25 };
    for version in 1..=4 {
        let frame = joined(encode_response(&heartbeat, version, 9).unwrap());
        let mut r = Reader::new(frame[SIZE_LENGTH..].to_vec());
        assert_eq!(decode_response::<HeartbeatRequest>(&mut r, version), Ok((9, heartbeat.clone())));
    }
}

#[test]
fn version_outside_of_the_table_is_not_encoded() {
    let error = EncodeError::UnsupportedVersion { api: ApiKey::Heartbeat, version: 5 };
    assert_eq!(encode_response(&HeartbeatResponse::default(), 5, 1), Err(error));
}
