//! Writes what spans all APIs: `ApiKey` with its rows, `AnyRequest`, `AnyResponse`.

use crate::{
    notation::{Api, Role},
    template::{docs, fill},
};

const MODULE: &str = r#"
$docs
pub mod $module {
    include!(concat!(env!("OUT_DIR"), "/$module.rs"));
}
"#;

const API_KEY: &str = r#"
/// The APIs that this crate can decode and encode, in order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {
$variants
}

impl ApiKey {
    /// Every API, by key.
    pub const ALL: &'static [ApiKey] = &[
$all
    ];

    /// The API of this key, if this crate knows it.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
$codes
            _ => None,
        }
    }

    pub(crate) fn row(self) -> &'static Api {
        match self {
$rows
        }
    }
}
"#;

/// One variant per API, so that dispatch is one exhaustive match.
const ANY: &str = r#"
/// A $what of any API.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, clippy::large_enum_variant)]
pub enum $Any {
$variants
}

impl $Any {
    /// The API it belongs to.
    pub fn key(&self) -> ApiKey {
        match self {
$keys
        }
    }

    /// The $what of an API with every field at its default.
    pub fn default_of(key: ApiKey) -> Self {
        match key {
$defaults
        }
    }

    /// Reads the body of a $what, leaving bytes after it in the reader.
    pub fn decode(key: ApiKey, version: i16, r: &mut Reader) -> Result<Self, DecodeError> {
        match key {
$decode
        }
    }

    /// Writes the body as `version` has it.
    pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        match self {
$encode
        }
    }
}
"#;

const FROM: &str = "
impl From<$path> for $Any {
    fn from(it: $path) -> Self {
        $Any::$api(it)
    }
}";

/// The source of `apis.rs`.
pub fn table(apis: &[Api]) -> String {
    let modules = apis
        .iter()
        .map(|api| fill(MODULE, &[("docs", docs(&api.docs, "").trim_end()), ("module", &api.module())]));
    let mut out: String = modules.collect();
    out += &api_key(apis);
    out += &any(apis, Role::Request);
    out += &any(apis, Role::Response);
    out
}

/// One piece of text per API, each made by `line`.
fn lines(apis: &[Api], line: impl Fn(&Api) -> String) -> String {
    apis.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn api_key(apis: &[Api]) -> String {
    let variants = lines(apis, |api| {
        let summary: Vec<String> = api.docs.iter().take_while(|line| !line.is_empty()).cloned().collect();
        format!("{}    {} = {},", docs(&summary, "    "), api.name, api.key)
    });
    let rows = lines(apis, |Api { name, versions, advertised, flexible_from, .. }| {
        format!(
            "            ApiKey::{name} => &Api {{ name: \"{name}\", versions: {versions:?}, \
             advertised: {advertised:?}, flexible_from: {flexible_from} }},"
        )
    });
    let all = lines(apis, |api| format!("        ApiKey::{},", api.name));
    let codes = lines(apis, |api| format!("            {} => Some(ApiKey::{}),", api.key, api.name));
    fill(API_KEY, &[("variants", &variants), ("all", &all), ("codes", &codes), ("rows", &rows)])
}

fn any(apis: &[Api], role: Role) -> String {
    let (any, what) = match role {
        Role::Request => ("AnyRequest", "request"),
        _ => ("AnyResponse", "response"),
    };
    let path = |api: &Api| format!("{}::{}", api.module(), api.message(role).name);
    let arm = |api: &Api, pattern: &str, then: &str| {
        format!("            {any}::{}({pattern}) => {then},", api.name)
    };
    let variants = lines(apis, |api| format!("    {}({}),", api.name, path(api)));
    let keys = lines(apis, |api| arm(api, "_", &format!("ApiKey::{}", api.name)));
    let encode = lines(apis, |api| arm(api, "it", "it.encode(w, version)"));
    let decode = lines(apis, |api| {
        format!("            ApiKey::{0} => {1}::decode(r, version).map({any}::{0}),", api.name, path(api))
    });
    let defaults = lines(apis, |api| {
        format!("            ApiKey::{0} => {any}::{0}({1}::default()),", api.name, path(api))
    });
    let from = lines(apis, |api| fill(FROM, &[("path", &path(api)), ("Any", any), ("api", &api.name)]));
    let any = [("what", what), ("Any", any), ("variants", &variants), ("keys", &keys)];
    fill(ANY, &[&any[..], &[("decode", &decode), ("encode", &encode), ("defaults", &defaults)]].concat())
        + &from
}
