//! How much is found, and how much of what is found is wrong: per entity, as docs/pii.md has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use classification::pii::{Entity, Kind, PiiRules, Scanner};

use super::corpus::corpus;
use super::marked::{CASES, unmarked};
use super::road::{Dice, clean};

/// Clean texts about roads.
const ROADS: usize = 20_000;

/// A text about an entity, with the spans that hold it.
type Marked = (Entity, String, Vec<(usize, usize)>);

/// Counts of one entity.
#[derive(Default)]
struct Figures {
    /// What there was to find.
    there: usize,
    /// What was found of it: exactly that, by that name.
    found: usize,
    /// What was taken for it and is not, in texts with personal data and in those that are clean on purpose.
    wrong: usize,
    /// The same in texts about roads.
    roads: usize,
    missed: Vec<String>,
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[test]
fn recall_and_precision_of_every_entity_are_those_of_the_documentation() {
    let scanner = Scanner::new(&PiiRules::default());
    let mut figures: BTreeMap<Entity, Figures> = Entity::DETECTED.map(|entity| (entity, Figures::default())).into();
    let mut texts: Vec<Marked> = Vec::new();
    for (entity, before, text) in corpus() {
        texts.push((entity, format!("{before}{text} end"), vec![(before.len(), before.len() + text.len())]));
    }
    for (entity, found, clean) in CASES {
        for marked in *found {
            let (text, spans) = unmarked(marked);
            texts.push((*entity, text, spans));
        }
        texts.extend(clean.iter().map(|text| (*entity, (*text).to_owned(), Vec::new())));
    }
    for (entity, text, spans) in &texts {
        let findings = scanner.scan(text);
        let seen: Vec<(Kind, (usize, usize))> = findings.iter().map(|f| (f.kind, (f.start, f.end))).collect();
        for span in spans {
            let of = figures.get_mut(entity).unwrap();
            of.there += 1;
            match seen.contains(&(Kind::Known(*entity), *span)) {
                true => of.found += 1,
                false => of.missed.push(text.clone()),
            }
        }
        for (kind, span) in seen {
            if let Kind::Known(found) = kind
                && !(found == *entity && spans.contains(&span))
            {
                figures.get_mut(&found).unwrap().wrong += 1;
            }
        }
    }
    let mut dice = Dice::new(7);
    let mut false_findings = Vec::new();
    for _ in 0..ROADS {
        let text = clean(&mut dice);
        let findings = scanner.scan(&text);
        assert_eq!(findings, scanner.scan_thoroughly(&text), "{text}");
        for finding in findings {
            if let Kind::Known(entity) = finding.kind {
                figures.get_mut(&entity).unwrap().roads += 1;
            }
            false_findings.push(text.clone());
        }
    }

    let mut table = "| entity | there | found | recall | wrong | in road texts | precision |\n".to_owned();
    table.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for (entity, of) in &figures {
        let recall = percent(of.found, of.there);
        let precision = percent(of.found, of.found + of.wrong + of.roads);
        writeln!(
            table,
            "| `{entity}` | {} | {} | {recall:.1} % | {} | {} | {precision:.1} % |",
            of.there, of.found, of.wrong, of.roads
        )
        .unwrap();
        assert!(recall >= 99.0, "{entity}: recall {recall}: missed {:#?}", of.missed);
        assert!(precision >= 95.0 && of.there >= 20, "{entity}: precision {precision}");
    }
    let share = percent(false_findings.len(), ROADS);
    let total = format!("{} findings in {ROADS} clean road texts: {share:.2} %", false_findings.len());
    // Printed for `-- --nocapture`.
    eprintln!("{table}\n{total}");
    assert!(share <= 1.0, "{total}: {false_findings:#?}");
    let documentation = include_str!("../../../../docs/pii.md");
    assert!(
        documentation.contains(&table) && documentation.contains(&total),
        "docs/pii.md has other figures than\n{table}\n{total}"
    );
}
