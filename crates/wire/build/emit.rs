//! Writes the Rust module of one API.

use crate::{
    notation::{Api, Field, Role, Struct, Type, Versions},
    template::{docs, fill},
};

const STRUCT: &str = "
$docs
#[derive(Debug, Clone, PartialEq$default)]
pub struct $Name {
$fields
}
";

const DEFAULT: &str = "
impl Default for $Name {
    fn default() -> Self {
        Self {
$values
        }
    }
}
";

const CODEC: &str = "
impl Struct for $Name {
    const MIN_SIZE: usize = $min;

    fn get(r: &mut Reader, v: i16) -> Result<Self, DecodeError> {
        $flexible
        let mut it = Self {
$get
        };
$get_tagged
        Ok(it)
    }

    fn put(&self, w: &mut Writer, v: i16) {
        $flexible
$put
$put_tagged
    }
}
";

const MESSAGE: &str = "
impl Message for $Name {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !($versions).contains(&version) {
            return Err(DecodeError::UnsupportedVersion { api: ApiKey::$api, version });
        }
        Self::get(r, version)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !($versions).contains(&version) {
            return Err(EncodeError::UnsupportedVersion { api: ApiKey::$api, version });
        }
        self.put(w, version);
        w.take_error()
    }
}

impl $Role for $Name {
    const KEY: ApiKey = ApiKey::$api;
$response
}
";

/// The module's source.
pub fn module(api: &Api) -> String {
    let mut out = String::from("use super::prelude::*;\n");
    for it in &api.structs {
        out += &definition(it);
        out += &codec(api, it);
        if it.role != Role::Inner {
            out += &message(api, it);
        }
    }
    out
}

fn definition(it: &Struct) -> String {
    let plain = it.fields.iter().all(has_plain_default);
    let fields = lines(&it.fields, |field| {
        let field_docs = docs(&field.docs, "    ");
        format!("{field_docs}    pub {}: {},", ident(&field.name), rust_type(field))
    });
    let docs = docs(&it.docs, "");
    let values = [
        ("docs", docs.trim_end()),
        ("default", if plain { ", Default" } else { "" }),
        ("Name", &it.name),
        ("fields", &fields),
    ];
    let definition = fill(STRUCT, &values);
    if plain {
        return definition;
    }
    let values =
        lines(&it.fields, |field| format!("            {}: {},", ident(&field.name), default_value(field)));
    definition + &fill(DEFAULT, &[("Name", &it.name), ("values", &values)])
}

fn codec(api: &Api, it: &Struct) -> String {
    let tagged = it.fields.iter().any(|field| field.tag.is_some());
    let template = if tagged { CODEC.to_owned() } else { CODEC.replace("let mut it", "let it") };
    // The longer of two names that start alike comes first.
    let values = [
        ("min", &*min_size(api, it).to_string()),
        ("flexible", &flexible(api)),
        ("get_tagged", &get_tagged(api, it)),
        ("get", &get_fields(it)),
        ("put_tagged", &put_tagged(api, it)),
        ("put", &put_fields(it)),
        ("Name", &it.name),
    ];
    fill(&template, &values)
}

/// `Message`, and `Request` or `Response`, for a struct that is one.
fn message(api: &Api, it: &Struct) -> String {
    let (role, response) = match it.role {
        Role::Request => ("Request", format!("    type Response = {};", api.message(Role::Response).name)),
        _ => ("Response", String::new()),
    };
    let versions = format!("{}..={}", api.versions.0, api.versions.1);
    let values = [
        ("Name", &*it.name),
        ("versions", &versions),
        ("api", &api.name),
        ("Role", role),
        ("response", &response),
    ];
    fill(MESSAGE, &values)
}

/// One piece of text per field, each made by `line`.
fn lines<'a>(fields: impl IntoIterator<Item = &'a Field>, line: impl Fn(&Field) -> String) -> String {
    fields.into_iter().map(line).collect::<Vec<_>>().join("\n")
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

fn get_fields(it: &Struct) -> String {
    lines(&it.fields, |field| {
        let (name, default) = (ident(&field.name), default_value(field));
        let value = match (field.tag, condition(field.versions, it.versions)) {
            (Some(_), _) => default,
            (None, None) => get(field, it.versions),
            (None, Some(present)) => {
                format!("if {present} {{ {} }} else {{ {default} }}", get(field, it.versions))
            }
        };
        format!("            {name}: {value},")
    })
}

const SKIP_TAGGED: &str = "        if flexible {
            r.skip_tagged_fields()?;
        }";

const GET_TAGGED: &str = "        if flexible {
            r.tagged_fields(|tag, r| {
                match tag {
$arms
                    _ => {}
                }
                Ok(())
            })?;
        }";

fn get_tagged(api: &Api, it: &Struct) -> String {
    if api.flexible_from > it.versions.1 {
        return String::new();
    }
    let tagged = it.fields.iter().filter(|field| field.tag.is_some());
    let arms = lines(tagged, |field| {
        let guard = condition(field.versions, it.versions).map_or_else(String::new, |it| format!(" if {it}"));
        let (tag, name, get) = (field.tag.unwrap(), ident(&field.name), get(field, it.versions));
        format!("                    {tag}{guard} => it.{name} = {get},")
    });
    if arms.is_empty() { SKIP_TAGGED.to_owned() } else { fill(GET_TAGGED, &[("arms", &arms)]) }
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

fn put_fields(it: &Struct) -> String {
    let untagged = it.fields.iter().filter(|field| field.tag.is_none());
    lines(untagged, |field| {
        let put = put(field, it.versions);
        match condition(field.versions, it.versions) {
            None => format!("        {put};"),
            Some(present) => format!("        if {present} {{ {put}; }}"),
        }
    })
}

const PUT_TAGGED: &str = "        if flexible {
$flags
            w.varuint($count);
$fields
        }";

/// Counts the tagged fields that are not at their default, then writes those by ascending tag.
fn put_tagged(api: &Api, it: &Struct) -> String {
    if api.flexible_from > it.versions.1 {
        return String::new();
    }
    let mut tagged: Vec<Field> = it.fields.iter().filter(|field| field.tag.is_some()).cloned().collect();
    tagged.sort_by_key(|field| field.tag);
    let flags = lines(&tagged, |field| {
        let version =
            condition(field.versions, it.versions).map_or_else(String::new, |it| format!("{it} && "));
        format!("            let tag{} = {version}{};", field.tag.unwrap(), differs_from_default(field))
    });
    let fields = lines(&tagged, |field| {
        let (tag, put) = (field.tag.unwrap(), put(field, it.versions));
        format!("            if tag{tag} {{ w.tagged_field({tag}, |w| {put}); }}")
    });
    let counts: Vec<String> =
        tagged.iter().map(|field| format!("u32::from(tag{})", field.tag.unwrap())).collect();
    let count = if counts.is_empty() { "0".to_owned() } else { counts.join(" + ") };
    fill(PUT_TAGGED, &[("flags", &flags), ("count", &count), ("fields", &fields)])
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
