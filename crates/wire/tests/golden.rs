//! What real clients sent to Apache Kafka 4.3.1, and what it answered, taken off the wire.
//!
//! `golden/<client>-<version>/<api>-v<n>.hex` is a request, header included; the answers are in
//! `golden/kafka-4.3.1/`. Every frame must decode without rest and encode to the same bytes.

use std::{fs, path::Path};

use bytes::Bytes;
use milena_wire::{
    AnyRequest, AnyResponse, ApiKey, DecodeError, Message, Reader, RequestHeader, Text, Writer,
    api_versions::{ApiVersion, ApiVersionsResponse},
    frame,
};

struct Golden {
    /// Folder and file, for messages.
    name: String,
    client: String,
    api: ApiKey,
    version: i16,
    bytes: Bytes,
}

fn read(path: &Path) -> Golden {
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (stem, folder) = (name(path), path.parent().unwrap().file_name().unwrap().to_str().unwrap());
    let (api, version) = stem.rsplit_once("-v").unwrap_or_else(|| panic!("{stem}"));
    let api = ApiKey::ALL.iter().find(|it| it.name() == api).unwrap_or_else(|| panic!("no api {api}"));
    let hex = fs::read_to_string(path).unwrap();
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Golden {
        name: format!("{folder}/{stem}"),
        client: folder.to_owned(),
        api: *api,
        version: version.parse().unwrap(),
        bytes: digits.chunks(2).map(byte).collect(),
    }
}

/// Every frame of the golden folder, in a steady order.
fn all() -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut paths: Vec<_> =
        folders.flat_map(|it| fs::read_dir(it).unwrap().map(|entry| entry.unwrap().path())).collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn golden(client: &str, api: ApiKey, version: i16) -> Golden {
    let wanted = |it: &Golden| (&*it.client, it.api, it.version) == (client, api, version);
    all().into_iter().find(wanted).unwrap()
}

const BROKER: &str = "kafka-4.3.1";

#[test]
fn requests_of_real_clients_are_read_and_written_to_the_byte() {
    let requests: Vec<_> = all().into_iter().filter(|it| it.client != BROKER).collect();
    for it in &requests {
        let mut r = Reader::new(it.bytes.clone());
        let header = RequestHeader::decode(&mut r).expect(&it.name);
        assert_eq!((header.api(), header.api_version), (Some(it.api), it.version), "{}", it.name);
        let request = AnyRequest::decode(it.api, it.version, &mut r);
        if !it.api.versions().contains(&it.version) {
            let unsupported = DecodeError::UnsupportedVersion { api: it.api, version: it.version };
            assert_eq!(request, Err(unsupported), "{}", it.name);
            continue;
        }
        let request = request.unwrap_or_else(|error| panic!("{}: {error}", it.name));
        assert_eq!(r.remaining(), 0, "{}: {request:?}", it.name);

        let mut w = Writer::new();
        let client_id = header.client_id.as_deref();
        frame::put_request_header(&mut w, it.api, it.version, header.correlation_id, client_id);
        request.encode(&mut w, it.version).unwrap();
        assert_eq!(w.into_bytes(), it.bytes, "{}: {request:?}", it.name);
    }
    assert!(requests.len() > 100, "{} requests only", requests.len());
}

#[test]
fn answers_of_kafka_are_read_and_written_to_the_byte() {
    let answers: Vec<_> = all().into_iter().filter(|it| it.client == BROKER).collect();
    for it in &answers {
        // Kafka answers an ApiVersions request that is too new for it in version 0.
        let version = if it.api.versions().contains(&it.version) { it.version } else { 0 };
        let mut r = Reader::new(it.bytes.clone());
        let correlation_id = frame::get_response_header(&mut r, it.api, version).expect(&it.name);
        let response = AnyResponse::decode(it.api, version, &mut r);
        let response = response.unwrap_or_else(|error| panic!("{}: {error}", it.name));
        assert_eq!(r.remaining(), 0, "{}: {response:?}", it.name);

        let mut w = Writer::new();
        frame::put_response_header(&mut w, it.api, version, correlation_id);
        response.encode(&mut w, version).unwrap();
        assert_eq!(w.into_bytes(), it.bytes, "{}: {response:?}", it.name);
    }
    assert!(answers.len() > 50, "{} answers only", answers.len());
}

#[test]
fn api_versions_too_new_for_kafka_is_answered_in_version_0() {
    let request = golden("franz-go-1.22.2", ApiKey::ApiVersions, 5);
    let header = RequestHeader::decode(&mut Reader::new(request.bytes)).unwrap();
    assert_eq!((header.api_version, header.client_id), (5, Some(Text::from("kgo"))));

    let answer = golden(BROKER, ApiKey::ApiVersions, 5);
    let mut r = Reader::new(answer.bytes);
    frame::get_response_header(&mut r, ApiKey::ApiVersions, 0).unwrap();
    let only = ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
    let want = ApiVersionsResponse { error_code: 35, api_keys: vec![only], ..Default::default() };
    assert_eq!(ApiVersionsResponse::decode(&mut r, 0), Ok(want));
}
