//! The decision table, row by row, and the laws behind it.

use classification::Code::{self, De, Hwc, Mx, Nr};
use classification::engine::MetricAsk::{self, Metric, NotAsked};
use classification::engine::{Bits, Verdict, combine, decide};
use proptest::prelude::*;

const CODES: [Option<Code>; 5] = [None, Some(Nr), Some(Mx), Some(De), Some(Hwc)];

/// One line of the decision table: the columns, metrics and sources that it speaks of, and the result.
struct Row {
    said: &'static str,
    columns: &'static [Option<Code>],
    metrics: &'static [MetricAsk],
    sources: &'static [Option<Code>],
    verdict: Verdict,
}

#[test]
fn the_decision_table() {
    const ANY: &[Option<Code>] = &CODES;
    const ANY_METRIC: &[MetricAsk] =
        &[NotAsked, Metric(None), Metric(Some(Nr)), Metric(Some(Mx)), Metric(Some(De)), Metric(Some(Hwc))];
    const FREE_METRIC: &[MetricAsk] = &[NotAsked, Metric(Some(Nr))];
    let table = [
        Row {
            said: "missing or de",
            columns: &[None, Some(De)],
            metrics: ANY_METRIC,
            sources: ANY,
            verdict: Verdict::Deny,
        },
        Row {
            said: "nr, source not asked",
            columns: &[Some(Nr)],
            metrics: FREE_METRIC,
            sources: ANY,
            verdict: Verdict::Pass,
        },
        Row {
            said: "hwc, source not asked",
            columns: &[Some(Hwc)],
            metrics: FREE_METRIC,
            sources: ANY,
            verdict: Verdict::Care,
        },
        Row {
            said: "denied metric",
            columns: &[Some(Nr), Some(Hwc), Some(Mx)],
            metrics: &[Metric(None), Metric(Some(De))],
            sources: ANY,
            verdict: Verdict::Deny,
        },
        Row {
            said: "metric hwc, source not asked",
            columns: &[Some(Nr), Some(Hwc)],
            metrics: &[Metric(Some(Hwc))],
            sources: ANY,
            verdict: Verdict::Care,
        },
        Row {
            said: "metric hwc, column mx: the source is asked",
            columns: &[Some(Mx)],
            metrics: &[Metric(Some(Hwc))],
            sources: &[Some(Nr), Some(Hwc)],
            verdict: Verdict::Care,
        },
        Row {
            said: "metric hwc, column mx, source denied",
            columns: &[Some(Mx)],
            metrics: &[Metric(Some(Hwc))],
            sources: &[None, Some(De), Some(Mx)],
            verdict: Verdict::Deny,
        },
        Row {
            said: "mx, source nr",
            columns: &[Some(Mx)],
            metrics: FREE_METRIC,
            sources: &[Some(Nr)],
            verdict: Verdict::Pass,
        },
        Row {
            said: "mx, source hwc",
            columns: &[Some(Mx)],
            metrics: FREE_METRIC,
            sources: &[Some(Hwc)],
            verdict: Verdict::Care,
        },
        Row {
            said: "mx, source denied",
            columns: &[Some(Mx)],
            metrics: FREE_METRIC,
            sources: &[None, Some(De), Some(Mx)],
            verdict: Verdict::Deny,
        },
        Row {
            said: "metric mx, source nr",
            columns: &[Some(Nr), Some(Mx)],
            metrics: &[Metric(Some(Mx))],
            sources: &[Some(Nr)],
            verdict: Verdict::Pass,
        },
        Row {
            said: "metric mx, source hwc",
            columns: &[Some(Nr), Some(Hwc), Some(Mx)],
            metrics: &[Metric(Some(Mx))],
            sources: &[Some(Hwc)],
            verdict: Verdict::Care,
        },
        Row {
            said: "metric mx, source denied",
            columns: &[Some(Nr), Some(Hwc), Some(Mx)],
            metrics: &[Metric(Some(Mx))],
            sources: &[None, Some(De), Some(Mx)],
            verdict: Verdict::Deny,
        },
        Row {
            said: "hwc, metric mx, source nr",
            columns: &[Some(Hwc)],
            metrics: &[Metric(Some(Mx))],
            sources: &[Some(Nr)],
            verdict: Verdict::Care,
        },
    ];
    let mut seen = std::collections::HashSet::new();
    for row in &table {
        for &column in row.columns {
            for &metric in row.metrics {
                for &source in row.sources {
                    assert_eq!(
                        decide(column, metric, source),
                        row.verdict,
                        "{}: {column:?} {metric:?} {source:?}",
                        row.said
                    );
                    seen.insert((column, metric, source));
                }
            }
        }
    }
    assert_eq!(seen.len(), 5 * 6 * 5, "every combination stands in the table");
}

fn codes() -> impl Strategy<Value = Vec<Code>> {
    prop::collection::vec(prop::sample::select(vec![Nr, Mx, De, Hwc]), 0..5)
}

/// At least one rule: the first one takes the place of "missing", which denies.
fn some_codes() -> impl Strategy<Value = Vec<Code>> {
    prop::collection::vec(prop::sample::select(vec![Nr, Mx, De, Hwc]), 1..5)
}

proptest! {
    #[test]
    fn a_further_rule_never_loosens(
        rules in [some_codes(), some_codes(), some_codes()],
        further in [codes(), codes(), codes()],
    ) {
        let bits = |position: usize, more: bool| {
            let further = if more { further[position].clone() } else { Vec::new() };
            Bits::of(rules[position].iter().copied().chain(further))
        };
        let before = combine(bits(0, false), bits(1, false), bits(2, false));
        for which in 0..8_u8 {
            let after = combine(bits(0, which & 1 != 0), bits(1, which & 2 != 0), bits(2, which & 4 != 0));
            prop_assert!(after >= before, "{before:?} became {after:?}");
        }
    }

    #[test]
    fn the_order_of_rules_does_not_matter(mut rules in some_codes(), metric in codes(), source in codes()) {
        let verdict = combine(Bits::of(rules.clone()), Bits::of(metric.clone()), Bits::of(source.clone()));
        rules.reverse();
        prop_assert_eq!(combine(Bits::of(rules.clone()), Bits::of(metric.clone()), Bits::of(source.clone())), verdict);
        rules.sort();
        prop_assert_eq!(combine(Bits::of(rules), Bits::of(metric), Bits::of(source)), verdict);
    }

    #[test]
    fn without_a_rule_nothing_passes(metric in codes(), source in codes()) {
        prop_assert_eq!(combine(Bits::of([]), Bits::of(metric), Bits::of(source)), Verdict::Deny);
    }
}
