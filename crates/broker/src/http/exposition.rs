//! Prometheus' text format, version 0.0.4: families of samples with labels.

use std::fmt::{Display, Write};

/// The format's media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's values do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A page of metrics. Samples follow the head of their family.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: self, name: name.to_owned() }
    }

    /// A family of one gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A family of one counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// The page.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A family that takes samples.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: String,
}

impl Family<'_> {
    /// Adds one sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(&self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &dyn Display) -> String {
    value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_head_once_and_its_labels_in_quotes() {
        let mut page = Page::default();
        page.gauge("up", "Whether it is.", 1);
        let mut family = page.family("size", Kind::Counter, "Bytes.");
        family.sample(&[("topic", &"a\"b\\c\nd"), ("partition", &0)], 17);
        family.sample(&[], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP up Whether it is.\n# TYPE up gauge\nup 1\n\
             # HELP size Bytes.\n# TYPE size counter\nsize{topic=\"a\\\"b\\\\c\\nd\",partition=\"0\"} 17\nsize 0.5\n"
        );
    }
}
