//! Writes what spans all APIs: `ApiKey` with its rows, `AnyRequest`, `AnyResponse`.

use std::fmt::Write;

use crate::notation::{Api, Role};

/// The source of `apis.rs`.
pub fn table(apis: &[Api]) -> String {
    let mut out = String::new();
    for api in apis {
        let module = api.module();
        doc_lines(&mut out, &api.docs, "");
        writeln!(
            out,
            "pub mod {module} {{\n    include!(concat!(env!(\"OUT_DIR\"), \"/{module}.rs\"));\n}}\n"
        )
        .unwrap();
    }
    api_key(&mut out, apis);
    any(&mut out, apis, Role::Request);
    any(&mut out, apis, Role::Response);
    out
}

fn doc_lines<'a>(out: &mut String, docs: impl IntoIterator<Item = &'a String>, indent: &str) {
    for line in docs {
        writeln!(out, "{indent}///{line}").unwrap();
    }
}

/// One line per API, each made by `line`.
fn lines(apis: &[Api], line: impl Fn(&Api) -> String) -> String {
    apis.iter().map(|api| line(api) + "\n").collect()
}

fn api_key(out: &mut String, apis: &[Api]) {
    out.push_str(
        "/// The APIs that this crate can decode and encode, in order of their keys.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    for api in apis {
        let summary = api.docs.iter().take_while(|line| !line.is_empty());
        doc_lines(out, summary, "    ");
        writeln!(out, "    {} = {},", api.name, api.key).unwrap();
    }
    let all = lines(apis, |api| format!("        ApiKey::{},", api.name));
    let codes = lines(apis, |api| format!("            {} => Some(ApiKey::{}),", api.key, api.name));
    let rows = lines(apis, |api| {
        format!(
            "            ApiKey::{0} => &Api {{ name: \"{0}\", versions: {1:?}, advertised: {2:?}, flexible_from: {3} }},",
            api.name, api.versions, api.advertised, api.flexible_from
        )
    });
    write!(
        out,
        "}}\n\nimpl ApiKey {{\n    /// Every API, by key.\n    \
         pub const ALL: &'static [ApiKey] = &[\n{all}    ];\n\n    \
         /// The API of this key, if this crate knows it.\n    \
         pub fn from_code(code: i16) -> Option<Self> {{\n        match code {{\n{codes}            _ => None,\n        }}\n    }}\n\n    \
         pub(crate) fn row(self) -> &'static Api {{\n        match self {{\n{rows}        }}\n    }}\n}}\n\n"
    )
    .unwrap();
}

/// An enum with one variant per API, so that dispatch is one exhaustive match.
fn any(out: &mut String, apis: &[Api], role: Role) {
    let (any, what) = match role {
        Role::Request => ("AnyRequest", "request"),
        _ => ("AnyResponse", "response"),
    };
    let path = |api: &Api| {
        let message = api.structs.iter().find(|it| it.role == role).expect("an api has both messages");
        format!("{}::{}", api.module(), message.name)
    };
    let variants = lines(apis, |api| format!("    {}({}),", api.name, path(api)));
    let encode = lines(apis, |api| format!("            {any}::{}(it) => it.encode(w, version),", api.name));
    let keys = lines(apis, |api| format!("            {any}::{0}(_) => ApiKey::{0},", api.name));
    let decode = lines(apis, |api| {
        format!("            ApiKey::{0} => {1}::decode(r, version).map({any}::{0}),", api.name, path(api))
    });
    write!(
        out,
        "/// A {what} of any API.\n#[derive(Debug, Clone, PartialEq)]\n#[allow(missing_docs, clippy::large_enum_variant)]\n\
         pub enum {any} {{\n{variants}}}\n\nimpl {any} {{\n    /// The API it belongs to.\n    \
         pub fn key(&self) -> ApiKey {{\n        match self {{\n{keys}        }}\n    }}\n\n    \
         /// Reads the body of a {what}, leaving bytes after it in the reader.\n    \
         pub fn decode(key: ApiKey, version: i16, r: &mut Reader) -> Result<Self, DecodeError> {{\n        match key {{\n{decode}        }}\n    }}\n\n    \
         /// Writes the body as `version` has it.\n    \
         pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n        match self {{\n{encode}        }}\n    }}\n}}\n\n"
    )
    .unwrap();
    out.push_str(&lines(apis, |api| {
        format!(
            "impl From<{0}> for {any} {{\n    fn from(it: {0}) -> Self {{\n        {any}::{1}(it)\n    }}\n}}\n",
            path(api),
            api.name
        )
    }));
}
