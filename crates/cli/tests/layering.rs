//! Holds the edges between packages against the table in `docs/architecture.md`.

use std::collections::BTreeMap;
use std::process::Command;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture.md");

/// The rooms in the page's order, each with the rooms it may use.
fn allowed() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut rooms: Vec<(String, Vec<String>)> = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let room = cells.next().unwrap().trim_matches('`').to_owned();
        let uses = cells.next().unwrap();
        let above = || rooms.iter().map(|(name, _)| name.clone());
        let may_use = match uses.split_once("all") {
            Some((_, but)) => above().filter(|name| !but.contains(&format!("`{name}`"))).collect(),
            None => uses.split_whitespace().map(|name| name.trim_matches('`').to_owned()).collect(),
        };
        rooms.push((room, may_use));
    }
    rooms
}

/// What each package really depends on, dev-dependencies left out.
fn actual() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let room = |name: &str| name.strip_prefix("milena-").map(str::to_owned);
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| {
            let edges = package["dependencies"].as_array().unwrap();
            let normal = edges.iter().filter(|edge| edge["kind"].is_null());
            let uses = normal.filter_map(|edge| room(edge["name"].as_str().unwrap()));
            Some((room(package["name"].as_str().unwrap())?, uses.collect()))
        })
        .collect()
}

#[test]
fn packages_depend_only_upwards() {
    let (allowed, actual) = (allowed(), actual());
    let named: Vec<_> = allowed.iter().map(|(name, _)| name.as_str()).collect();
    for (at, (room, may_use)) in allowed.iter().enumerate() {
        assert!(
            may_use.iter().all(|used| named[..at].contains(&used.as_str())),
            "{room} uses a room below it"
        );
        let uses = actual.get(room).unwrap_or_else(|| panic!("{room} is on the page but has no package"));
        let forbidden: Vec<_> = uses.iter().filter(|used| !may_use.contains(used)).collect();
        assert!(forbidden.is_empty(), "{room} depends on {forbidden:?}, the page allows {may_use:?}");
    }
    let unlisted: Vec<_> = actual.keys().filter(|room| !named.contains(&room.as_str())).collect();
    assert!(unlisted.is_empty(), "packages without a row on the page: {unlisted:?}");
}

#[test]
fn pure_packages_have_no_runtime() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    for line in page.lines().filter(|line| line.starts_with("| `") && line.contains("I/O")) {
        let room = line.split('`').nth(1).unwrap();
        let manifest = format!("{}/../{room}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let manifest = std::fs::read_to_string(&manifest).unwrap();
        let normal = manifest.split("[dev-dependencies]").next().unwrap();
        assert!(!normal.contains("tokio"), "{room} is pure but depends on tokio");
    }
}
