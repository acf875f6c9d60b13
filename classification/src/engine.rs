//! How the codes of a column, a metric and a source combine into what becomes of one cell.
//!
//! Each code is a set of bits; bits are OR-ed and nothing takes precedence, so the order in which rules are seen
//! cannot matter and a further rule can only tighten. What is missing or unknown is the bit that denies. Nothing here
//! knows tables, values or actions.

use std::ops::{BitOr, BitOrAssign};

use crate::code::Code;

/// What the rules ask for, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits(u8);

impl Bits {
    /// Nothing is asked: the value may leave.
    pub const NOTHING: Bits = Bits(0);
    /// The value may leave with a restriction.
    pub const CARE: Bits = Bits(1);
    /// It depends on the row's source.
    pub const ASK_SOURCE: Bits = Bits(2);
    /// The value does not leave.
    pub const DENY: Bits = Bits(4);

    /// The bits of all rules that were found for one thing; without any rule it is denied.
    pub fn of(codes: impl IntoIterator<Item = Code>) -> Self {
        codes.into_iter().map(Self::from).reduce(BitOr::bitor).unwrap_or(Self::DENY)
    }

    /// Whether any of these bits is set.
    pub fn any(self, bits: Bits) -> bool {
        self.0 & bits.0 != 0
    }
}

impl From<Code> for Bits {
    fn from(code: Code) -> Self {
        match code {
            Code::Nr => Self::NOTHING,
            Code::Hwc => Self::CARE,
            Code::Mx => Self::ASK_SOURCE,
            Code::De => Self::DENY,
        }
    }
}

impl From<Option<Code>> for Bits {
    fn from(code: Option<Code>) -> Self {
        Self::of(code)
    }
}

impl BitOr for Bits {
    type Output = Bits;

    fn bitor(self, other: Bits) -> Bits {
        Bits(self.0 | other.0)
    }
}

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Bits) {
        self.0 |= other.0;
    }
}

/// What becomes of a cell, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It leaves as it is.
    Pass,
    /// It leaves with a restriction; without a valid one it does not.
    Care,
    /// It does not leave.
    Deny,
}

/// The metric's part in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricAsk {
    /// The table is not long, or the column is not its value column: no metric is asked.
    NotAsked,
    /// The code of the row's metric; `None` where it is NULL or nobody has classified it.
    Metric(Option<Code>),
}

impl MetricAsk {
    /// The metric's bits.
    pub fn bits(self) -> Bits {
        match self {
            Self::NotAsked => Bits::NOTHING,
            Self::Metric(code) => code.into(),
        }
    }
}

/// Decides one cell from the codes of its column, its metric and its row's source.
///
/// `None` stands for everything that is not known: a column or source without a rule, a source that is NULL, a table
/// without a source column.
pub fn decide(column: Option<Code>, metric: MetricAsk, source: Option<Code>) -> Verdict {
    combine(column.into(), metric.bits(), source.into())
}

/// Decides one cell from bits. The source's count only if the others ask for it.
pub fn combine(column: Bits, metric: Bits, source: Bits) -> Verdict {
    let mut bits = column | metric;
    if bits.any(Bits::ASK_SOURCE) {
        bits |= source;
        // A source that itself asks for the source answers nothing.
        if source.any(Bits::ASK_SOURCE) {
            bits |= Bits::DENY;
        }
    }
    if bits.any(Bits::DENY) {
        Verdict::Deny
    } else if bits.any(Bits::CARE) {
        Verdict::Care
    } else {
        Verdict::Pass
    }
}
