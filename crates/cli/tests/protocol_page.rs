//! `docs/protocol.md` says what the API table says. `UPDATE_DOCS=1` rewrites the page.

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");

const HEAD: &str = "# Protocol

Generated from the API table in `crates/wire/schema`; `UPDATE_DOCS=1 cargo test -p milena-cli --test protocol_page`
writes it anew.

*Advertised* is what an ApiVersions answer says. It is wider than *decoded* where clients draw wrong conclusions from
the lower end: librdkafka stops compressing unless Produce begins at 0 (KAFKA-18659). APIs that the broker does not
serve yet are missing from ApiVersions, and a request for one closes the connection, as in Kafka.

";

fn page() -> String {
    let served: Vec<_> = milena_broker::served_apis().collect();
    let rows = milena_wire::docs::protocol_table();
    let mut page = HEAD.to_owned();
    for (number, row) in rows.lines().enumerate() {
        let key = row.split('|').nth(1).and_then(|cell| cell.trim().parse::<i16>().ok());
        let mark = match key {
            _ if number == 0 => " Served |",
            None => "---|",
            Some(key) if served.iter().any(|api| api.code() == key) => " yes |",
            Some(_) => " not yet |",
        };
        page += &format!("{row}{mark}\n");
    }
    page
}

#[test]
fn protocol_page_is_current() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    assert!(
        std::fs::read_to_string(PAGE).is_ok_and(|text| text == page()),
        "docs/protocol.md is not current"
    );
}
