//! Probes and metrics, as a scraper gets them.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use common::{Broker, batch, bytes};
use tempfile::TempDir;

/// Status line and body of the answer to one request.
fn get(address: SocketAddr, line: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn broker() -> (TempDir, Broker, SocketAddr) {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(dir.path(), &["milena.http.listener=127.0.0.1:0"]);
    let address = broker.http_address().unwrap();
    (dir, broker, address)
}

#[test]
fn a_broker_that_serves_clients_is_alive_and_ready() {
    let (_dir, broker, address) = broker();
    broker.connect().create_topic("t", 3);
    for path in ["/livez", "/readyz", "/safe-to-stop"] {
        let (status, body) = get(address, &format!("GET {path}"));
        assert_eq!(status, "HTTP/1.0 200 OK", "{path}: {body}");
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    let (_dir, _broker, address) = broker();
    assert_eq!(get(address, "GET /nothing").0, "HTTP/1.0 404 Not Found");
    assert_eq!(get(address, "POST /metrics").0, "HTTP/1.0 405 Method Not Allowed");
}

#[test]
fn metrics_count_what_clients_do() {
    let (_dir, broker, address) = broker();
    let mut connection = broker.connect();
    connection.create_topic("t", 2);
    let sent = bytes(batch(&["a", "b", "c"]));
    let size = sent.len();
    assert_eq!(connection.produce("t", sent).error_code, 0);
    let (_, page) = get(address, "GET /metrics");
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total 3".to_owned(),
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"} 3".to_owned(),
        format!("kafka_server_brokertopicmetrics_bytesin_total {size}"),
        "kafka_server_replicamanager_leadercount 2".to_owned(),
        "kafka_server_replicamanager_underreplicatedpartitions 0".to_owned(),
        "kafka_server_replicamanager_offlinereplicacount 0".to_owned(),
        "kafka_controller_kafkacontroller_activecontrollercount 1".to_owned(),
        "kafka_controller_kafkacontroller_offlinepartitionscount 0".to_owned(),
        "kafka_cluster_partition_insyncreplicascount{topic=\"t\",partition=\"1\"} 1".to_owned(),
        "kafka_topic_partition_current_offset{topic=\"t\",partition=\"0\"} 3".to_owned(),
        "kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"} 3".to_owned(),
        "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 1".to_owned(),
        "kafka_server_socket_server_metrics_connection_count 1".to_owned(),
    ] {
        assert!(page.lines().any(|it| it == line), "{line} is missing from\n{page}");
    }
    for family in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = family.split(' ').next().unwrap();
        assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name} is one family");
    }
}

#[test]
fn a_taken_port_matters_only_to_those_who_asked_for_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let loaded =
        |set: Vec<String>| milena_config::load::Sources { set, ..Default::default() }.load().unwrap();
    let dir = TempDir::new().unwrap();
    let mut set = vec![
        format!("log.dirs={}", dir.path().display()),
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("milena.http.listener={address}"),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = runtime.block_on(milena_broker::Server::start(loaded(set.clone()), runtime.handle()));
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.starts_with(&format!("milena.http.listener: cannot listen on {address}: ")), "{message}");
    set[2] = "milena.http.listener=".to_owned();
    let started = runtime.block_on(milena_broker::Server::start(loaded(set), runtime.handle())).unwrap();
    assert_eq!(started.http_address(), None);
    runtime.block_on(started.stop());
}
