//! Source text with holes.

/// Puts each value in place of `$name`.
///
/// A line that is nothing but a hole disappears if its value is empty.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = template.to_owned();
    for (name, value) in values {
        let hole = format!("${name}");
        if value.is_empty() {
            out = out.replace(&format!("\n{hole}\n"), "\n");
        }
        out = out.replace(&hole, value);
    }
    out
}

/// Comment lines of a schema as lines of documentation.
pub fn docs(lines: &[String], indent: &str) -> String {
    lines.iter().map(|line| format!("{indent}///{line}\n")).collect()
}
