//! What commands print. A reader that goes away, such as `head`, is no error.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::Failure;
use crate::jobs::{JobView, TableState};

/// One line of a result.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A result for machines.
pub(super) fn json<T: Serialize>(value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        line(&text);
    }
}

/// A remark for whoever watches; not part of the result.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Why a command did not do it.
pub(super) fn failure(failure: &Failure, json: bool) {
    let text = if json {
        serde_json::json!({"error": {"code": failure.code.as_str(), "message": failure.message}}).to_string()
    } else {
        format!("error: {} [{}]", failure.message, failure.code)
    };
    note(&text);
}

/// Shows how a job goes on: a bar on a terminal, a line at each tenth elsewhere, nothing for machines.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    said: f64,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let bar = (terminal && !json).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, lines: !json && !terminal, said: -10.0 }
    }

    /// The state of a whole: its share in percent, and words for it.
    pub(super) fn show(&mut self, percent: f64, message: &str) {
        if let Some(bar) = &self.bar {
            // A share of 0 to 100, shown to a tenth.
            bar.set_position((percent * 10.0) as u64);
            bar.set_message(message.to_owned());
        } else if self.lines && (percent - self.said >= 10.0 || (percent >= 100.0 && self.said < 100.0)) {
            self.said = percent;
            note(&format!("{percent:5.1} %  {message}"));
        }
    }

    pub(super) fn job(&mut self, job: &JobView) {
        let published = job.tables.iter().filter(|table| table.state == TableState::Completed).count();
        let wanted = job.tables.iter().filter(|table| table.state != TableState::Skipped).count();
        let rows: i64 = job.tables.iter().map(|table| table.rows).sum();
        self.show(job.progress, &format!("{published} of {wanted} tables published, {} rows", grouped(rows)));
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Bytes as people read them.
pub(super) fn bytes(number: i64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567"), (-1_000, "-1 000")] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in
            [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }
}
