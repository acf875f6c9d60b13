//! What is printed: an experiment a row, with its figures and the bars that they must keep.

use std::fmt::Display;
use std::time::Duration;

/// What became of one experiment.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    figures: Vec<Figure>,
    evidence: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    name: String,
    value: String,
    bar: Option<Bar>,
}

#[derive(Debug)]
struct Bar {
    text: String,
    kept: bool,
    /// Holds on any machine, however loaded: asked of the short form, too.
    always: bool,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), figures: Vec::new(), evidence: Vec::new() }
    }

    /// A figure without a bar.
    pub(crate) fn note(&mut self, name: &str, value: impl Display) {
        self.figures.push(Figure { name: name.to_owned(), value: value.to_string(), bar: None });
    }

    /// What was seen of something that must not be, for whoever looks after a missed bar.
    pub(crate) fn saw(&mut self, what: impl Into<String>) {
        self.evidence.push(what.into());
    }

    /// A count that must be exactly this, on any machine.
    pub(crate) fn exactly(&mut self, name: &str, value: usize, wanted: usize) {
        self.bar(name, value.to_string(), wanted.to_string(), value == wanted, true);
    }

    /// Counts that must all be nothing, on any machine.
    pub(crate) fn nothing(&mut self, counts: &[(&str, usize)]) {
        let names: Vec<&str> = counts.iter().map(|(name, _)| *name).collect();
        let values: Vec<String> = counts.iter().map(|(_, count)| count.to_string()).collect();
        let kept = counts.iter().all(|(_, count)| *count == 0);
        self.bar(&names.join(", "), values.join(", "), "all 0".to_owned(), kept, true);
    }

    /// A count that may be no more than this, on any machine.
    pub(crate) fn at_most(&mut self, name: &str, value: usize, most: usize) {
        self.bar(name, value.to_string(), format!("≤ {most}"), value <= most, true);
    }

    /// A count whose bar is for the long form.
    pub(crate) fn at_most_in_time(&mut self, name: &str, value: usize, most: usize) {
        self.bar(name, value.to_string(), format!("≤ {most}"), value <= most, false);
    }

    /// Times of which the 99th of 100 must be within a bar that is for the long form.
    pub(crate) fn times(&mut self, name: &str, mut times: Vec<Duration>, bar: Option<Duration>) {
        times.sort();
        let Some(longest) = times.last() else { return self.note(name, "none seen") };
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64();
        let text = format!("p50 {:.1} s, p99 {:.1} s, max {:.1} s", at(0.5), at(0.99), longest.as_secs_f64());
        match bar {
            Some(bar) => {
                let kept = at(0.99) <= bar.as_secs_f64();
                self.bar(name, text, format!("p99 ≤ {} s", bar.as_secs()), kept, false);
            }
            None => self.note(name, text),
        }
    }

    fn bar(&mut self, name: &str, value: String, text: String, kept: bool, always: bool) {
        self.figures.push(Figure { name: name.to_owned(), value, bar: Some(Bar { text, kept, always }) });
    }

    /// The figures whose bar is missed, and what was seen of it.
    pub(crate) fn missed(&self, long: bool) -> Vec<String> {
        let missed = |figure: &&Figure| figure.bar.as_ref().is_some_and(|bar| !bar.kept && (long || bar.always));
        let told = self.figures.iter().filter(missed).map(|figure| format!("{} is {}", figure.name, figure.value));
        let mut told: Vec<String> = told.collect();
        if !told.is_empty() {
            told.extend(self.evidence.iter().map(|seen| format!("seen: {seen}")));
        }
        told.into_iter().map(|what| format!("{}: {what}", self.name)).collect()
    }

    /// As lines of a Markdown table.
    pub(crate) fn print(&self) {
        for (number, figure) in self.figures.iter().enumerate() {
            let name = if number == 0 { self.name.as_str() } else { "" };
            let (bar, verdict) = match &figure.bar {
                Some(bar) => (bar.text.as_str(), if bar.kept { "kept" } else { "MISSED" }),
                None => ("", ""),
            };
            println!("| {name} | {} | {} | {bar} | {verdict} |", figure.name, figure.value);
        }
    }
}

/// The head of the table.
pub(crate) fn print_head() {
    println!("| experiment | figure | value | bar | |\n|---|---|---|---|---|");
}
