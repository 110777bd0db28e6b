//! Writes the Rust module of one API.

use std::fmt::Write;

use crate::notation::{Api, Field, Role, Struct, Type, Versions};

/// The module's source.
pub fn module(api: &Api) -> String {
    let mut out = String::from("use super::prelude::*;\n");
    for it in &api.structs {
        definition(&mut out, it);
        default(&mut out, it);
        let flexible = flexible(api);
        out += &format!(
            "impl Struct for {name} {{\n    const MIN_SIZE: usize = {min};\n\n\
             \x20   fn get(r: &mut Reader, v: i16) -> Result<Self, DecodeError> {{\n        {flexible}\n{get}    }}\n\n\
             \x20   fn put(&self, w: &mut Writer, v: i16) {{\n        {flexible}\n{put}    }}\n}}\n\n",
            name = it.name,
            min = min_size(api, it),
            get = get_body(api, it),
            put = put_body(api, it),
        );
        if it.role != Role::Inner {
            message(&mut out, api, it);
        }
    }
    out
}

/// The line that says whether this version is flexible.
fn flexible(api: &Api) -> String {
    match condition((api.flexible_from, i16::MAX), api.versions) {
        _ if api.flexible_from == i16::MAX => "let flexible = false;".to_owned(),
        None => "let flexible = true;".to_owned(),
        Some(condition) => format!("let flexible = {condition};"),
    }
}

/// What `v` must satisfy to lie in `range`, given that it lies in `within`.
fn condition(range: Versions, within: Versions) -> Option<String> {
    match (range.0 > within.0, range.1 < within.1) {
        (false, false) => None,
        (true, false) => Some(format!("v >= {}", range.0)),
        (false, true) => Some(format!("v <= {}", range.1)),
        (true, true) => Some(format!("({}..={}).contains(&v)", range.0, range.1)),
    }
}

fn docs(out: &mut String, docs: &[String], indent: &str) {
    for line in docs {
        writeln!(out, "{indent}///{line}").unwrap();
    }
}

fn definition(out: &mut String, it: &Struct) {
    docs(out, &it.docs, "");
    let default = if it.fields.iter().all(has_plain_default) { ", Default" } else { "" };
    writeln!(out, "#[derive(Debug, Clone, PartialEq{default})]\npub struct {} {{", it.name).unwrap();
    for field in &it.fields {
        docs(out, &field.docs, "    ");
        writeln!(out, "    pub {}: {},", ident(&field.name), rust_type(field)).unwrap();
    }
    out.push_str("}\n\n");
}

fn ident(name: &str) -> String {
    if matches!(name, "type" | "match") { format!("r#{name}") } else { name.to_owned() }
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.ty);
    if is_option(field) { format!("Option<{plain}>") } else { plain }
}

fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Fixed(name, ..) => (*name).to_owned(),
        Type::Text => "Text".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

fn is_option(field: &Field) -> bool {
    field.nullable_from.is_some() || field.ty == Type::Records
}

/// Whether Kafka's default is also Rust's.
fn has_plain_default(field: &Field) -> bool {
    match &field.default {
        Some(default) => default == "null",
        None => field.ty == Type::Records || field.nullable_from.is_none(),
    }
}

fn default_value(field: &Field) -> String {
    match &field.default {
        _ if has_plain_default(field) => match &field.ty {
            _ if is_option(field) => "None".to_owned(),
            Type::Fixed("bool", ..) => "false".to_owned(),
            Type::Fixed("Uuid", ..) => "Uuid::ZERO".to_owned(),
            Type::Fixed("f64", ..) => "0.0".to_owned(),
            Type::Fixed(..) => "0".to_owned(),
            Type::Text => "Text::EMPTY".to_owned(),
            Type::Array(_) => "Vec::new()".to_owned(),
            _ => "Default::default()".to_owned(),
        },
        Some(text) if text.starts_with('"') => format!("Text::from_static({text})"),
        Some(number) => number.clone(),
        None => "Some(Default::default())".to_owned(),
    }
}

fn default(out: &mut String, it: &Struct) {
    if it.fields.iter().all(has_plain_default) {
        return;
    }
    writeln!(out, "impl Default for {} {{\n    fn default() -> Self {{\n        Self {{", it.name).unwrap();
    for field in &it.fields {
        writeln!(out, "            {}: {},", ident(&field.name), default_value(field)).unwrap();
    }
    out.push_str("        }\n    }\n}\n\n");
}

/// Fewest bytes of one value, over all versions.
fn min_size(api: &Api, it: &Struct) -> usize {
    let sizes = (it.versions.0..=it.versions.1).map(|v| min_size_in(api, it, v));
    sizes.min().unwrap_or(0)
}

fn min_size_in(api: &Api, it: &Struct, v: i16) -> usize {
    let flexible = v >= api.flexible_from;
    let fields = it.fields.iter().filter(|f| f.tag.is_none() && (f.versions.0..=f.versions.1).contains(&v));
    let sizes = fields.map(|field| match &field.ty {
        Type::Fixed(_, _, size) => *size,
        Type::Struct(_) if field.nullable_from.is_some() => 1,
        Type::Struct(name) => min_size_in(api, api.find(name), v),
        _ if flexible => 1,
        Type::Text => 2,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
    });
    sizes.sum::<usize>() + usize::from(flexible)
}

fn get_body(api: &Api, it: &Struct) -> String {
    let mut out = String::new();
    let tagged: Vec<&Field> = it.fields.iter().filter(|field| field.tag.is_some()).collect();
    let binding = if tagged.is_empty() { "let it" } else { "let mut it" };
    writeln!(out, "        {binding} = Self {{").unwrap();
    for field in &it.fields {
        let (name, default) = (ident(&field.name), default_value(field));
        let value = match (field.tag, condition(field.versions, it.versions)) {
            (Some(_), _) => default,
            (None, None) => get(field, it.versions),
            (None, Some(present)) => {
                format!("if {present} {{ {} }} else {{ {default} }}", get(field, it.versions))
            }
        };
        writeln!(out, "            {name}: {value},").unwrap();
    }
    out.push_str("        };\n");
    if api.flexible_from <= it.versions.1 {
        let skip = if tagged.is_empty() {
            "r.skip_tagged_fields()?;".to_owned()
        } else {
            get_tagged(&tagged, it.versions)
        };
        writeln!(out, "        if flexible {{\n            {skip}\n        }}").unwrap();
    }
    out.push_str("        Ok(it)\n");
    out
}

fn get_tagged(tagged: &[&Field], within: Versions) -> String {
    let mut arms = String::new();
    for field in tagged {
        let guard = condition(field.versions, within).map_or_else(String::new, |it| format!(" if {it}"));
        let (tag, name) = (field.tag.unwrap(), ident(&field.name));
        writeln!(arms, "                    {tag}{guard} => it.{name} = {},", get(field, within)).unwrap();
    }
    format!(
        "r.tagged_fields(|tag, r| {{\n                match tag {{\n{arms}                    _ => {{}}\n\
         \x20               }}\n                Ok(())\n            }})?;"
    )
}

/// The expression that reads a field which the version has.
fn get(field: &Field, within: Versions) -> String {
    let Some(from) = field.nullable_from else { return get_value(&field.ty, false) };
    match condition((from, i16::MAX), field.versions).and(condition((from, i16::MAX), within)) {
        None => get_value(&field.ty, true),
        Some(nullable) => format!(
            "if {nullable} {{ {} }} else {{ Some({}) }}",
            get_value(&field.ty, true),
            get_value(&field.ty, false)
        ),
    }
}

fn get_value(ty: &Type, nullable: bool) -> String {
    let prefix = if nullable { "nullable_" } else { "" };
    match ty {
        Type::Fixed(_, method, _) => format!("r.{method}()?"),
        Type::Text => format!("r.{prefix}text(flexible)?"),
        Type::Bytes => format!("r.{prefix}bytes(flexible)?"),
        Type::Records => "r.records(flexible)?".to_owned(),
        Type::Struct(name) if nullable => format!("r.nullable_struct(|r| {name}::get(r, v))?"),
        Type::Struct(name) => format!("{name}::get(r, v)?"),
        Type::Array(element) => {
            let (min, read) = match &**element {
                Type::Fixed(_, method, size) => (size.to_string(), format!("Reader::{method}")),
                Type::Struct(name) => (format!("{name}::MIN_SIZE"), format!("|r| {name}::get(r, v)")),
                other => ("1".to_owned(), format!("|r| {}", get_value(other, false).trim_end_matches('?'))),
            };
            format!("r.{prefix}array(flexible, {min}, {read})?")
        }
    }
}

fn put_body(api: &Api, it: &Struct) -> String {
    let mut out = String::new();
    for field in it.fields.iter().filter(|field| field.tag.is_none()) {
        let put = put(field, it.versions);
        match condition(field.versions, it.versions) {
            None => writeln!(out, "        {put};"),
            Some(present) => writeln!(out, "        if {present} {{ {put}; }}"),
        }
        .unwrap();
    }
    if api.flexible_from > it.versions.1 {
        return out;
    }
    out.push_str("        if flexible {\n");
    put_tagged(&mut out, it);
    out.push_str("        }\n");
    out
}

/// Counts the tagged fields that are not at their default, then writes those.
fn put_tagged(out: &mut String, it: &Struct) {
    let mut tagged: Vec<&Field> = it.fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    let mut count = Vec::new();
    for field in &tagged {
        let tag = field.tag.unwrap();
        let version =
            condition(field.versions, it.versions).map_or_else(String::new, |it| format!("{it} && "));
        writeln!(out, "            let tag{tag} = {version}{};", differs_from_default(field)).unwrap();
        count.push(format!("u32::from(tag{tag})"));
    }
    if count.is_empty() {
        count.push("0".to_owned());
    }
    writeln!(out, "            w.varuint({});", count.join(" + ")).unwrap();
    for field in &tagged {
        let (tag, put) = (field.tag.unwrap(), put(field, it.versions));
        writeln!(out, "            if tag{tag} {{ w.tagged_field({tag}, |w| {put}); }}").unwrap();
    }
}

fn differs_from_default(field: &Field) -> String {
    let name = ident(&field.name);
    match &field.ty {
        _ if is_option(field) => {
            assert_eq!(
                field.default.as_deref(),
                Some("null"),
                "{name}: a tagged nullable field defaults to null"
            );
            format!("self.{name}.is_some()")
        }
        Type::Text | Type::Bytes | Type::Array(_) if field.default.is_none() => {
            format!("!self.{name}.is_empty()")
        }
        Type::Fixed("bool", ..) if field.default.is_none() => format!("self.{name}"),
        Type::Struct(ty) => format!("self.{name} != {ty}::default()"),
        _ => format!("self.{name} != {}", default_value(field)),
    }
}

fn put(field: &Field, within: Versions) -> String {
    let name = ident(&field.name);
    let nullable = field.nullable_from.map(|from| {
        condition((from, i16::MAX), field.versions)
            .and(condition((from, i16::MAX), within))
            .unwrap_or_else(|| "true".to_owned())
    });
    match (&field.ty, nullable) {
        (Type::Records, _) => format!("w.records(&self.{name}, flexible)"),
        (Type::Struct(_), Some(_)) => format!("w.nullable_struct(&self.{name}, |w, it| it.put(w, v))"),
        (Type::Struct(_), None) => format!("self.{name}.put(w, v)"),
        (Type::Text, None) => format!("w.text(&self.{name}, flexible)"),
        (Type::Text, Some(null)) => format!("w.nullable_text(&self.{name}, flexible, {null})"),
        (Type::Bytes, None) => format!("w.bytes(&self.{name}, flexible)"),
        (Type::Bytes, Some(null)) => format!("w.nullable_bytes(&self.{name}, flexible, {null})"),
        (Type::Array(element), None) => format!("w.array(&self.{name}, flexible, {})", put_element(element)),
        (Type::Array(element), Some(null)) => {
            format!("w.nullable_array(&self.{name}, flexible, {null}, {})", put_element(element))
        }
        (Type::Fixed(_, method, _), _) => format!("w.{method}(self.{name})"),
    }
}

fn put_element(element: &Type) -> String {
    match element {
        Type::Fixed(_, method, _) => format!("|w, it| w.{method}(*it)"),
        Type::Text => "|w, it| w.text(it, flexible)".to_owned(),
        Type::Bytes => "|w, it| w.bytes(it, flexible)".to_owned(),
        Type::Struct(_) => "|w, it| it.put(w, v)".to_owned(),
        Type::Records | Type::Array(_) => panic!("no message has an array of {element:?}"),
    }
}

/// `Message`, and `Request` or `Response`, for a struct that is one.
fn message(out: &mut String, api: &Api, it: &Struct) {
    let (name, key, (min, max)) = (&it.name, &api.name, api.versions);
    let refuse = |error: &str| {
        format!(
            "if !({min}..={max}).contains(&version) {{\n            \
             return Err({error}::UnsupportedVersion {{ api: ApiKey::{key}, version }});\n        }}"
        )
    };
    let (decode, encode) = (refuse("DecodeError"), refuse("EncodeError"));
    write!(
        out,
        "impl Message for {name} {{\n    \
         fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n        {decode}\n        \
         Self::get(r, version)\n    }}\n\n    \
         fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n        {encode}\n        \
         self.put(w, version);\n        w.take_error()\n    }}\n}}\n\n"
    )
    .unwrap();
    let (role, answer) = match it.role {
        Role::Request => {
            let response = api.structs.iter().find(|it| it.role == Role::Response);
            (
                "Request",
                format!("\n    type Response = {};", response.expect("a request has a response").name),
            )
        }
        _ => ("Response", String::new()),
    };
    writeln!(out, "impl {role} for {name} {{\n    const KEY: ApiKey = ApiKey::{key};{answer}\n}}\n").unwrap();
}
