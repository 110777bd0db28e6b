//! Every API that the broker advertises is answered, in every version; what it does not serve closes the
//! connection; answers keep their order.

mod common;

use common::{Broker, batch, bytes, produce_request};
use milena_wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::metadata::MetadataRequest;
use milena_wire::{AnyRequest, ApiKey, Message, Reader, Writer, frame};

/// The default request of an API in a version, as bytes. Produce asks for acks, as it is silent otherwise.
fn default_request(key: ApiKey, version: i16) -> Vec<u8> {
    let mut w = Writer::with_capacity(256);
    frame::put_request_header(&mut w, key, version, 7, Some("test"));
    if key == ApiKey::Produce {
        produce_request("absent", Default::default()).encode(&mut w, version).unwrap();
    } else {
        AnyRequest::default_of(key).encode(&mut w, version).unwrap();
    }
    let body = w.finish().concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn advertised(broker: &Broker) -> Vec<(ApiKey, i16, i16)> {
    let request =
        ApiVersionsRequest { client_software_name: "test".into(), client_software_version: "1".into() };
    let response = broker.connect().call(&request, 4);
    let keys = response.api_keys.iter();
    keys.map(|it| (ApiKey::from_code(it.api_key).unwrap(), it.min_version, it.max_version)).collect()
}

#[test]
fn every_advertised_version_of_every_api_is_answered() {
    let (_dir, broker) = Broker::fresh();
    for (key, _, newest) in advertised(&broker) {
        let oldest = *key.versions().start();
        for version in oldest..=newest {
            let mut connection = broker.connect();
            connection.write(&default_request(key, version));
            let answer = connection.frame().unwrap_or_else(|| panic!("{key} v{version}: no answer"));
            assert_eq!(&answer[..4], &7i32.to_be_bytes(), "{key} v{version}");
        }
    }
}

#[test]
fn what_is_not_advertised_closes_the_connection() {
    let (_dir, broker) = Broker::fresh();
    let advertised: Vec<_> = advertised(&broker).into_iter().map(|(key, ..)| key).collect();
    for &key in ApiKey::ALL {
        if !advertised.contains(&key) {
            let mut connection = broker.connect();
            connection.write(&default_request(key, *key.versions().end()));
            assert_eq!(connection.frame(), None, "{key}");
        }
    }
    // A key that nobody knows, and a version that nobody knows.
    for header in [[0x03, 0xe8, 0, 0], [0, 3, 0, 99]] {
        let mut connection = broker.connect();
        connection.write(&[&[0, 0, 0, 10][..], &header, &[0, 0, 0, 1, 0, 0]].concat());
        assert_eq!(connection.frame(), None, "{header:?}");
    }
}

#[test]
fn unsupported_api_versions_is_answered_in_version_0_with_its_own_range() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    let body =
        [&18i16.to_be_bytes()[..], &99i16.to_be_bytes(), &5i32.to_be_bytes(), &[0xff, 0xff, 0]].concat();
    connection.write(&[&(body.len() as u32).to_be_bytes()[..], &body].concat());
    let mut reader = Reader::new(connection.frame().unwrap());
    assert_eq!(reader.i32().unwrap(), 5);
    let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
    assert_eq!(response.error_code, 35);
    let keys: Vec<_> =
        response.api_keys.iter().map(|it| (it.api_key, it.min_version, it.max_version)).collect();
    assert_eq!(keys, [(18, *ApiKey::ApiVersions.versions().start(), *ApiKey::ApiVersions.versions().end())]);
}

#[test]
fn malformed_requests_close_the_connection_and_no_other() {
    let (_dir, broker) = Broker::fresh();
    let mut bystander = broker.connect();
    for (what, input) in [
        (
            "an array of a billion",
            [&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0][..], &[0x3b, 0x9a, 0xca, 0]].concat(),
        ),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff]),
        ("a negative length", vec![0xff; 4]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let mut connection = broker.connect();
        connection.write(&input);
        assert_eq!(connection.frame(), None, "{what}");
    }
    assert_eq!(bystander.call(&MetadataRequest::default(), 12).error_code, 0);
}

#[test]
fn answers_keep_the_order_of_pipelined_requests() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("order", 1);
    // The fetch waits for data that the produce behind it brings; its answer still comes first.
    let fetch = FetchRequest {
        max_wait_ms: 20_000,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "order".into(),
            partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetched = connection.send(&fetch, 11);
    let produced = connection.send(&produce_request("order", bytes(batch(&["a"]))), 9);
    let metadata = connection.send(&MetadataRequest::default(), 9);
    let fetched = connection.receive::<FetchRequest>(11, fetched);
    let records = fetched.responses[0].partitions[0].records.clone().unwrap();
    assert!(!records.is_empty(), "the produce woke the fetch");
    let produced = connection.receive::<milena_wire::produce::ProduceRequest>(9, produced);
    assert_eq!(produced.responses[0].partition_responses[0].base_offset, 0);
    connection.receive::<MetadataRequest>(9, metadata);
}
