//! Regular expressions for topics as Apache's tools read them.

use regex::Regex;

use super::exception::Exception;

/// Compiles an include list: commas separate alternatives, blanks and surrounding quotes are dropped, and
/// a name has to match as a whole.
pub fn compile(text: &str) -> Result<Regex, Exception> {
    let list = text.trim().replace(',', "|").replace(' ', "");
    let list = list.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{list})$"))
        .map_err(|_| Exception::new("java.lang.RuntimeException", format!("{list} is an invalid regex.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn include_lists() {
        for (list, name, want) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("a, b", "b", true),
            ("\"ord.*\"", "orders", true),
            ("", "orders", false),
        ] {
            assert_eq!(compile(list).unwrap().is_match(name), want, "{list} {name}");
        }
        assert_eq!(compile("(").unwrap_err().message(), "( is an invalid regex.");
    }
}
