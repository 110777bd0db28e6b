//! The schemas say what Kafka's own schemas say, field by field, for every version.

mod common;

use common::notation::{Api, Role, Struct, Type};
use milena_wire::ApiKey;

/// One line per run of versions with the same layout, as `golden/layouts-4.3.1.txt` has them.
fn layouts(api: &Api) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, role) in [("request", Role::Request), ("response", Role::Response)] {
        let it = api.message(role);
        let (min, max) = api.versions;
        let layout = |v: i16| {
            let kind = if v >= api.flexible_from { "flexible" } else { "fixed" };
            format!("{kind} {}", body(api, it, v))
        };
        let mut from = min;
        for v in min..=max {
            if v == max || layout(v + 1) != layout(v) {
                lines.push(format!("{} {} {what} {from}-{v} {}", api.key, api.name, layout(v)));
                from = v + 1;
            }
        }
    }
    lines
}

fn body(api: &Api, it: &Struct, v: i16) -> String {
    let mut fields: Vec<_> =
        it.fields.iter().filter(|field| (field.versions.0..=field.versions.1).contains(&v)).collect();
    fields.sort_by_key(|field| field.tag);
    let words: Vec<String> = fields
        .iter()
        .map(|field| {
            let tag = field.tag.map_or_else(String::new, |tag| format!("@{tag}"));
            let null = if field.nullable_from.is_some_and(|from| v >= from) { "?" } else { "" };
            format!("{}{tag}:{}{null}", field.name, name(api, &field.ty, v))
        })
        .collect();
    words.join(" ")
}

fn name(api: &Api, ty: &Type, v: i16) -> String {
    match ty {
        Type::Fixed("Uuid", ..) => "uuid".to_owned(),
        Type::Fixed("bool", ..) => "bool".to_owned(),
        Type::Fixed(rust, ..) => rust.replace('i', "int").replace('u', "uint").replace('f', "float"),
        Type::Text => "string".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::Records => "records".to_owned(),
        Type::Struct(inner) => format!("{{{}}}", body(api, api.find(inner), v)),
        Type::Array(element) => format!("[{}]", name(api, element, v)),
    }
}

#[test]
fn every_version_of_every_message_is_laid_out_as_in_kafka() {
    let kafka: Vec<&str> =
        include_str!("golden/layouts-4.3.1.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let ours: Vec<String> = common::schemas().iter().flat_map(layouts).collect();
    for (ours, kafka) in ours.iter().zip(&kafka) {
        assert_eq!(ours, kafka);
    }
    assert_eq!(ours.len(), kafka.len());
}

#[test]
fn generated_table_is_the_schemas_heads() {
    let heads: Vec<_> = common::schemas()
        .iter()
        .map(|api| (api.key, api.name.clone(), api.versions, api.advertised, api.flexible_from))
        .collect();
    let table: Vec<_> = ApiKey::ALL
        .iter()
        .map(|api| {
            let (versions, advertised) = (api.versions(), api.advertised());
            let flexible = api.flexible_from().unwrap_or(i16::MAX);
            let ends = (*versions.start(), *versions.end());
            (api.code(), api.name().to_owned(), ends, (*advertised.start(), *advertised.end()), flexible)
        })
        .collect();
    assert_eq!(table, heads);
}
