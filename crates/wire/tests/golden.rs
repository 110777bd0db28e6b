//! What real clients sent to Apache Kafka 4.3.1, and what it answered, taken off the wire.
//!
//! `golden/<client>-<version>/<api>-v<n>.hex` is a request, header included; the answers are in
//! `golden/kafka-4.3.1/`. Every frame must decode without rest and encode to the same bytes.

use std::{fs, path::Path};

use bytes::Bytes;
use milena_wire::{
    AnyRequest, AnyResponse, ApiKey, DecodeError, Message, Reader, RequestHeader, Text, Writer,
    api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
    consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions},
    fetch::{FetchPartition, FetchRequest, FetchTopic},
    find_coordinator::{Coordinator, FindCoordinatorResponse},
    frame,
    init_producer_id::InitProducerIdRequest,
    metadata::MetadataRequest,
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

#[test]
fn advertised_versions_are_those_of_kafka() {
    let answer = golden(BROKER, ApiKey::ApiVersions, 4);
    let mut r = Reader::new(answer.bytes);
    frame::get_response_header(&mut r, ApiKey::ApiVersions, 4).unwrap();
    let answer = ApiVersionsResponse::decode(&mut r, 4).unwrap();
    for api in ApiKey::ALL {
        let kafka = answer.api_keys.iter().find(|it| it.api_key == api.code()).unwrap();
        assert_eq!(api.advertised(), kafka.min_version..=kafka.max_version, "{api}");
    }
}

/// Decodes the request of a client; returns its client id and the request.
fn request(client: &str, api: ApiKey, version: i16) -> (Option<Text>, AnyRequest) {
    let mut r = Reader::new(golden(client, api, version).bytes);
    let header = RequestHeader::decode(&mut r).unwrap();
    (header.client_id, AnyRequest::decode(api, version, &mut r).unwrap())
}

#[test]
fn requests_say_what_their_clients_meant() {
    let own = |it: &str| Some(Text::from(it));

    let want = ApiVersionsRequest {
        client_software_name: "librdkafka".into(),
        client_software_version: "2.0.2".into(),
    };
    assert_eq!(request("kcat-1.7.1", ApiKey::ApiVersions, 3), (own("rdkafka"), want.into()));

    // All topics, in the words of version 0.
    let want = MetadataRequest { topics: Some(vec![]), ..Default::default() };
    assert_eq!(
        request("kafka-python-2.0.2", ApiKey::Metadata, 0),
        (own("kafka-python-producer-1"), want.into())
    );

    let want =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: -1, ..Default::default() };
    assert_eq!(request("confluent-kafka-2.16.1", ApiKey::InitProducerId, 4), (own("rdkafka"), want.into()));

    let partition = |partition, fetch_offset| FetchPartition {
        partition,
        current_leader_epoch: 0,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic_id: "1ncX2I7TT1enhxFpT3W-Vw".parse().unwrap(),
        partitions: vec![partition(0, 3), partition(1, 4)],
        ..Default::default()
    };
    let want = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_id: 936_782_740,
        session_epoch: 1,
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(request("java-4.3.1", ApiKey::Fetch, 18), (own("consumer-g-java-4.3.1-1"), want.into()));

    let topic_id = "jawnHq_PTQeiygtSIoTxjg".parse().unwrap();
    let want = ConsumerGroupHeartbeatRequest {
        group_id: "cg848".into(),
        member_id: "U99ZiY4oR7i0KLDJzaSspg".into(),
        member_epoch: 2,
        topic_partitions: Some(vec![TopicPartitions { topic_id, partitions: vec![0, 1, 2] }]),
        ..Default::default()
    };
    assert_eq!(
        request("java-tools-4.3.1", ApiKey::ConsumerGroupHeartbeat, 1),
        (own("console-consumer"), want.into())
    );
}

#[test]
fn find_coordinator_answers_with_the_array_only_from_version_4() {
    let decode = |version| {
        let mut r = Reader::new(golden(BROKER, ApiKey::FindCoordinator, version).bytes);
        frame::get_response_header(&mut r, ApiKey::FindCoordinator, version).unwrap();
        FindCoordinatorResponse::decode(&mut r, version).unwrap()
    };
    let v2 = decode(2);
    assert_eq!((v2.node_id, &*v2.host, v2.port, v2.coordinators), (1, "127.0.0.1", 19092, vec![]));
    let v6 = decode(6);
    let [Coordinator { node_id: 1, port: 19092, error_code: 0, .. }] = v6.coordinators[..] else {
        panic!("{v6:?}");
    };
    assert_eq!((v6.node_id, &*v6.host, v6.port), (0, "", 0));
}
