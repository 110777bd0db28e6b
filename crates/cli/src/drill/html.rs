//! The report as a page that needs nothing but itself: tables, and two plots as SVG.

use std::fmt::Write;

use milena_check::Micros;

use super::report::Report;
use super::round::Round;
use super::stats::{Spread, span};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left}svg text{font:12px system-ui,sans-serif;fill:#444}\
.good{color:#176d2c}.bad{color:#b00020}";

/// The whole page.
pub fn page(report: &Report) -> String {
    let title = format!("milena drill {}", report.fault);
    let mut body = format!("<h1>{}</h1><p>{}</p>", escape(&title), escape(&report.setting));
    let (class, word) = if report.is_good() { ("good", "passed") } else { ("bad", "FAILED") };
    let summary = &report.summary;
    let _ = write!(
        body,
        "<p class=\"{class}\"><b>{word}</b>: {} rounds, {} records acknowledged, {} lost, {} duplicated, {} reordered</p>",
        report.rounds.len(),
        summary.acked,
        summary.lost,
        summary.duplicated,
        summary.reordered
    );
    table(&mut body, "unavailable", &summary.spreads());
    table(&mut body, "latency", &report.latencies());
    body.push_str("<h2>Every round</h2><p>Longest gap between two acknowledgements, per partition, as the producer saw it (circles) and as probes did (bars); time upwards, on a logarithmic scale.</p>");
    rounds(&mut body, report);
    let worst =
        report.rounds.iter().max_by_key(|it| it.partitions.iter().filter_map(|it| it.client_us).max());
    if let Some(round) = worst {
        let _ = write!(
            body,
            "<h2>The worst round: {}</h2><p>Latency of the slowest record of each hundredth of a second, per partition.</p>",
            round.number
        );
        timeline(&mut body, round);
    }
    if !summary.errors.is_empty() {
        body.push_str("<h2>What clients were refused with</h2><table><tr><th>client</th><th>error</th><th>times</th></tr>");
        for (client, errors) in &summary.errors {
            for (name, count) in errors {
                let _ = write!(
                    body,
                    "<tr><td>{}</td><td>{}</td><td>{count}</td></tr>",
                    escape(client),
                    escape(name)
                );
            }
        }
        body.push_str("</table>");
    }
    for round in &report.rounds {
        for it in &round.verdict.examples {
            let _ = write!(
                body,
                "<p class=\"bad\">round {}: {}: {}: {}</p>",
                round.number,
                it.kind.name(),
                escape(&it.subject),
                escape(&it.what)
            );
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        escape(&title)
    )
}

fn table(body: &mut String, what: &str, rows: &[(&str, Option<Spread>)]) {
    let _ = write!(body, "<table><tr><th>{what}</th><th>n</th><th>p50</th><th>p99</th><th>max</th></tr>");
    for (name, spread) in rows {
        let Some(it) = spread else { continue };
        let cells = [it.count.to_string(), span(it.p50), span(it.p99), span(it.max)];
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escape(name), cells.join("</td><td>"));
    }
    body.push_str("</table>");
}

/// Where a duration stands on the logarithmic scale of `most`, from the bottom.
fn height(micros: Micros, most: Micros) -> f64 {
    let (least, most) = (100f64.ln(), (most.max(1_000) as f64).ln());
    ((micros.max(100) as f64).ln() - least) / (most - least) * HEIGHT
}

fn begin(body: &mut String, most: Micros) {
    let (width, height_all) = (WIDTH + MARGIN, HEIGHT + 40.0);
    let _ = write!(body, "<svg viewBox=\"0 0 {width} {height_all}\" width=\"100%\" role=\"img\">");
    for mark in [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000] {
        if mark > most.max(1_000) {
            break;
        }
        let y = 10.0 + HEIGHT - height(mark, most);
        let _ = write!(
            body,
            "<line x1=\"{MARGIN}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            MARGIN - 6.0,
            y + 4.0,
            match mark {
                ..1_000_000 => format!("{} ms", mark / 1_000),
                _ => format!("{} s", mark / 1_000_000),
            }
        );
    }
}

/// One column per round: what each partition suffered.
fn rounds(body: &mut String, report: &Report) {
    let all = || report.rounds.iter().flat_map(|it| &it.partitions);
    let most = all().filter_map(|it| it.client_us.max(it.server_us)).max().unwrap_or(1_000);
    begin(body, most);
    let step = WIDTH / report.rounds.len().max(1) as f64;
    for (at, round) in report.rounds.iter().enumerate() {
        for it in &round.partitions {
            let colour = if it.led_by_victim { COLOURS[1] } else { COLOURS[0] };
            let x = MARGIN
                + step * (at as f64 + 0.2 + 0.6 * (it.index as f64 + 0.5) / round.partitions.len() as f64);
            if let Some(server) = it.server_us {
                let (y, h) = (10.0 + HEIGHT - height(server, most), height(server, most));
                let _ = write!(
                    body,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"2\" height=\"{h:.1}\" fill=\"{colour}\" opacity=\".45\"/>"
                );
            }
            if let Some(client) = it.client_us {
                let y = 10.0 + HEIGHT - height(client, most);
                let _ = write!(
                    body,
                    "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>round {}, partition {}: {}</title></circle>",
                    x + 1.0,
                    round.number,
                    it.index,
                    span(client)
                );
            }
        }
    }
    let y = HEIGHT + 30.0;
    let _ = write!(
        body,
        "<text x=\"{MARGIN}\" y=\"{y}\">rounds 1 to {}; red: the victim led the partition, blue: it followed</text></svg>",
        report.rounds.len()
    );
}

/// Latency over time, with the fault, the healing and the full ISR as upright lines.
fn timeline(body: &mut String, round: &Round) {
    let bars = || round.partitions.iter().flat_map(|it| &it.bars);
    let Some(end) = bars().map(|(at, _)| *at).max() else { return };
    let most = bars().map(|(_, latency)| *latency).max().unwrap_or(1_000);
    begin(body, most);
    let x = |at: Micros| MARGIN + WIDTH * at as f64 / end.max(1) as f64;
    let marks =
        [(Some(round.fault_at), "fault"), (Some(round.healed_at), "healing"), (round.whole_at, "full ISR")];
    for (at, what) in marks {
        let Some(at) = at.filter(|it| *it <= end) else { continue };
        let (x, bottom) = (x(at), 10.0 + HEIGHT);
        let _ = write!(
            body,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"10\" y2=\"{bottom}\" stroke=\"#000\" stroke-dasharray=\"3\"/><text x=\"{:.1}\" y=\"{}\">{what}</text>",
            x + 3.0,
            bottom + 14.0
        );
    }
    for it in &round.partitions {
        let colour = COLOURS[it.index as usize % COLOURS.len()];
        let points: Vec<String> = it
            .bars
            .iter()
            .map(|(at, latency)| format!("{:.1},{:.1}", x(*at), 10.0 + HEIGHT - height(*latency, most)))
            .collect();
        let _ = write!(
            body,
            "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"><title>partition {}</title></polyline>",
            points.join(" "),
            it.index
        );
    }
    let y = HEIGHT + 38.0;
    let _ = write!(body, "<text x=\"{MARGIN}\" y=\"{y}\">{} from left to right</text></svg>", span(end));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_say_cannot_become_markup() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }

    #[test]
    fn heights_grow_with_the_logarithm() {
        let most = 1_000_000;
        assert_eq!(height(most, most), HEIGHT);
        assert_eq!(height(0, most), 0.0);
        assert!((height(10_000, most) - HEIGHT / 2.0).abs() < 1e-9);
    }
}
