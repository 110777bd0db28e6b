//! Reads the schema notation that `schema/README.md` describes.

use std::{fs, iter::Peekable, path::Path, str::Lines};

/// A span of versions, both ends included.
pub type Versions = (i16, i16);

/// One file: an API, its two messages and every struct inside them.
#[derive(Debug, Default)]
pub struct Api {
    pub key: i16,
    pub name: String,
    pub docs: Vec<String>,
    pub versions: Versions,
    pub advertised: Versions,
    /// `i16::MAX` if no version is flexible.
    pub flexible_from: i16,
    pub structs: Vec<Struct>,
}

/// Where a struct was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Request,
    Response,
    /// Inside the request, the response, or (once merged) both.
    Inner,
}

#[derive(Debug, Clone)]
pub struct Struct {
    pub name: String,
    pub docs: Vec<String>,
    pub role: Role,
    /// Versions in which it occurs.
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub docs: Vec<String>,
    pub ty: Type,
    pub versions: Versions,
    /// First version in which it may be null.
    pub nullable_from: Option<i16>,
    pub tag: Option<u32>,
    /// Kafka's default, if it is not the type's.
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A number, bool or uuid: name of the Rust type and of the reader's and writer's method, size.
    Fixed(&'static str, &'static str, usize),
    Text,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

const FIXED: [(&str, Type); 9] = [
    ("bool", Type::Fixed("bool", "bool", 1)),
    ("int8", Type::Fixed("i8", "i8", 1)),
    ("int16", Type::Fixed("i16", "i16", 2)),
    ("uint16", Type::Fixed("u16", "u16", 2)),
    ("int32", Type::Fixed("i32", "i32", 4)),
    ("uint32", Type::Fixed("u32", "u32", 4)),
    ("int64", Type::Fixed("i64", "i64", 8)),
    ("float64", Type::Fixed("f64", "f64", 8)),
    ("uuid", Type::Fixed("Uuid", "uuid", 16)),
];

impl Api {
    /// Kafka's name in snake case.
    pub fn module(&self) -> String {
        let mut module = String::new();
        for c in self.name.chars() {
            if c.is_uppercase() && !module.is_empty() {
                module.push('_');
            }
            module.extend(c.to_lowercase());
        }
        module
    }

    /// The request or the response.
    pub fn message(&self, role: Role) -> &Struct {
        self.structs.iter().find(|it| it.role == role).unwrap_or_else(|| panic!("{}: no {role:?}", self.name))
    }

    pub fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|it| it.name == name)
            .unwrap_or_else(|| panic!("{}: no struct {name}", self.name))
    }
}

impl Type {
    /// The struct at the bottom of it, if any.
    pub fn struct_name(&mut self) -> Option<&mut String> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

/// Reads every schema of a folder, ordered by API key.
pub fn read_all(folder: &Path) -> Result<Vec<Api>, String> {
    let mut apis = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|it| it == "kafka") {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            apis.push(parse(&text).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    apis.sort_by_key(|api| api.key);
    Ok(apis)
}

/// Reads one schema.
pub fn parse(text: &str) -> Result<Api, String> {
    let mut api = Api { flexible_from: i16::MAX, ..Api::default() };
    let mut lines = text.lines().peekable();
    let mut docs = Vec::new();
    let mut sides = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        match line.split(' ').collect::<Vec<_>>()[..] {
            [""] => {}
            ["#", ..] => docs.push(line[1..].to_owned()),
            ["api", key, name] => {
                api.key = number(key)?;
                api.name = name.to_owned();
                api.docs = std::mem::take(&mut docs);
            }
            ["versions", range] => {
                api.versions = versions(range, i16::MAX)?;
                api.advertised = api.versions;
            }
            ["advertised", range] => api.advertised = versions(range, i16::MAX)?,
            ["flexible", range] => api.flexible_from = versions(range, i16::MAX)?.0,
            [kind @ ("request" | "response" | "struct"), name, "{"] => {
                let role = match kind {
                    "request" => Role::Request,
                    "response" => Role::Response,
                    _ => Role::Inner,
                };
                if role != Role::Inner {
                    sides.push(Vec::new());
                }
                let side = sides.last_mut().ok_or("a struct stands before any message")?;
                let docs = std::mem::take(&mut docs);
                let head =
                    Struct { name: name.to_owned(), docs, role, versions: api.versions, fields: vec![] };
                body(head, &mut lines, side)?;
            }
            _ => return Err(format!("cannot read: {line}")),
        }
    }
    api.structs = merge(sides);
    Ok(api)
}

/// Reads fields up to the closing brace; appends the struct after those inside it.
fn body(mut it: Struct, lines: &mut Peekable<Lines>, side: &mut Vec<Struct>) -> Result<(), String> {
    let mut docs = Vec::new();
    for_each_line(lines, |line, lines| {
        if let Some(comment) = line.strip_prefix('#') {
            docs.push(comment.to_owned());
            return Ok(());
        }
        let mut field = field(line.trim_end_matches('{').trim(), it.versions)?;
        field.docs = std::mem::take(&mut docs);
        if line.ends_with('{') {
            let name = field.ty.struct_name().ok_or_else(|| format!("no struct: {line}"))?.clone();
            let docs = field.docs.clone();
            let inner = Struct { name, docs, role: Role::Inner, versions: field.versions, fields: vec![] };
            body(inner, lines, side)?;
        }
        it.fields.push(field);
        Ok(())
    })?;
    side.push(it);
    Ok(())
}

fn for_each_line<'a>(
    lines: &mut Peekable<Lines<'a>>,
    mut f: impl FnMut(&'a str, &mut Peekable<Lines<'a>>) -> Result<(), String>,
) -> Result<(), String> {
    loop {
        match lines.next().map(str::trim) {
            None => return Err("a brace is not closed".to_owned()),
            Some("}") => return Ok(()),
            Some("") => {}
            Some(line) => f(line, lines)?,
        }
    }
}

/// `name: type[?] [versions] [nullable n+] [tag n] [= default]`
fn field(line: &str, within: Versions) -> Result<Field, String> {
    let wrong = || format!("not a field: {line}");
    let (name, rest) = line.split_once(": ").ok_or_else(wrong)?;
    let mut words = rest.split(' ').peekable();
    let ty = words.next().ok_or_else(wrong)?;
    let mut field = Field {
        name: name.to_owned(),
        docs: vec![],
        ty: self::ty(ty.trim_end_matches('?')),
        versions: within,
        nullable_from: None,
        tag: None,
        default: None,
    };
    if let Some(range) = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        field.versions = versions(range, within.1)?;
    }
    if ty.ends_with('?') {
        field.nullable_from = Some(field.versions.0);
    }
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(wrong)?;
        match word {
            "nullable" => field.nullable_from = Some(versions(value, within.1)?.0),
            "tag" => field.tag = Some(value.parse().map_err(|_| wrong())?),
            "=" => field.default = Some(value.to_owned()),
            _ => return Err(wrong()),
        }
    }
    Ok(field)
}

fn ty(text: &str) -> Type {
    if let Some(element) = text.strip_prefix("[]") {
        return Type::Array(Box::new(ty(element)));
    }
    match text {
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => match FIXED.iter().find(|(name, _)| *name == text) {
            Some((_, fixed)) => fixed.clone(),
            None => Type::Struct(text.to_owned()),
        },
    }
}

/// `3`, `3-7` or `3+`, the last up to `max`.
fn versions(text: &str, max: i16) -> Result<Versions, String> {
    if let Some(min) = text.strip_suffix('+') {
        return Ok((number(min)?, max));
    }
    match text.split_once('-') {
        Some((min, max)) => Ok((number(min)?, number(max)?)),
        None => number(text).map(|v| (v, v)),
    }
}

fn number(text: &str) -> Result<i16, String> {
    text.parse().map_err(|_| format!("not a version: {text}"))
}

/// Puts request and response structs into one list. A name that both sides use stays if both
/// mean the same, and is prefixed with `Request` and `Response` if they do not.
fn merge(mut sides: Vec<Vec<Struct>>) -> Vec<Struct> {
    let Some(mut response) = sides.pop().filter(|_| !sides.is_empty()) else {
        return sides.into_iter().flatten().collect();
    };
    let mut request = sides.remove(0);
    loop {
        let clash = response.iter().find_map(|theirs| {
            let ours = request.iter().find(|ours| ours.name == theirs.name)?;
            Some((ours.name.clone(), shape(ours) == shape(theirs)))
        });
        match clash {
            None => break,
            Some((name, true)) if !refers_to_clash(&name, &request, &response) => {
                response.retain(|it| it.name != name);
            }
            Some((name, _)) => {
                rename(&mut request, &name, "Request");
                rename(&mut response, &name, "Response");
            }
        }
    }
    request.append(&mut response);
    request
}

fn shape(it: &Struct) -> String {
    let fields: Vec<_> =
        it.fields.iter().map(|f| (&f.name, &f.ty, f.versions, f.nullable_from, f.tag, &f.default)).collect();
    format!("{:?} {fields:?}", it.versions)
}

/// Whether a struct holds another one that both sides declare; that one is decided first.
fn refers_to_clash(name: &str, request: &[Struct], response: &[Struct]) -> bool {
    let inner = request.iter().filter(|it| it.name == name).flat_map(|it| &it.fields);
    let mut inner = inner.filter_map(|field| field.ty.clone().struct_name().cloned());
    inner.any(|inner| response.iter().any(|it| it.name == inner))
}

fn rename(side: &mut [Struct], name: &str, prefix: &str) {
    for it in side {
        let types = it.fields.iter_mut().filter_map(|field| field.ty.struct_name());
        for used in types.chain([&mut it.name]).filter(|used| *used == name) {
            *used = format!("{prefix}{name}");
        }
    }
}
