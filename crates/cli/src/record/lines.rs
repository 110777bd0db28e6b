//! Lines of standard input, read on a thread of their own so that sending goes on while a person types.

use std::io::{self, BufRead, Write};

use tokio::sync::mpsc;

/// Lines that may wait to be sent.
const WAITING: usize = 4096;

/// Lines as they come, without their line break.
pub struct Lines {
    incoming: mpsc::Receiver<io::Result<Vec<u8>>>,
}

impl Lines {
    /// Reads standard input; prints `prompt` before each line.
    pub fn of_stdin(prompt: Option<&'static str>) -> Self {
        let (outgoing, incoming) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                if let Some(prompt) = prompt {
                    let mut stdout = io::stdout();
                    let _ = write!(stdout, "{prompt}").and_then(|()| stdout.flush());
                }
                let mut line = Vec::new();
                let read = stdin.read_until(b'\n', &mut line);
                let line = match read {
                    Ok(0) => break,
                    Ok(_) => Ok(without_break(line)),
                    Err(error) => Err(error),
                };
                let failed = line.is_err();
                if outgoing.blocking_send(line).is_err() || failed {
                    break;
                }
            }
        });
        Lines { incoming }
    }

    /// The next line; `None` after the last. May be dropped without losing a line.
    pub async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.incoming.recv().await
    }
}

/// Drops `\n` or `\r\n`.
fn without_break(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_of_both_kinds_are_dropped() {
        for (line, want) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\r", "a\r"), ("\n", "")] {
            assert_eq!(without_break(line.into()), want.as_bytes(), "{line:?}");
        }
    }
}
