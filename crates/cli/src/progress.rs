//! A counter on the terminal while work is long.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts records. Nothing is drawn unless standard error is a terminal and `when` holds.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a counter of `what`, such as "records sent".
    pub fn start(what: &str, when: bool) -> Self {
        let bar = match when && io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5)),
            false => ProgressBar::hidden(),
        };
        let template = format!("{{spinner}} {{human_pos}} {what} in {{elapsed}} ({{per_sec}})");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    /// Counts one more.
    pub fn count(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
