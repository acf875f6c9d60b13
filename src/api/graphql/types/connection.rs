//! Lists in pages, as Relay has them, forwards.

use async_graphql::{OutputType, SimpleObject};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AuditEntry, Notification, RequestStatus, TableExportJobStatus};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{JobId, Page};

/// Entries of a page when nobody says how many.
const PAGE: i64 = 20;
/// Most entries of a page.
const LONGEST_PAGE: i64 = 100;

/// A page of a list.
#[derive(SimpleObject)]
#[graphql(
    concrete(name = "AuditConnection", params(AuditEntry)),
    concrete(name = "NotificationConnection", params(Notification)),
    concrete(name = "RequestConnection", params(RequestStatus)),
    concrete(name = "TableExportJobStatusConnection", params(TableExportJobStatus))
)]
pub(in crate::api::graphql) struct Connection<T: OutputType>
where
    Edge<T>: OutputType,
{
    /// The entries with their cursors.
    edges: Vec<Edge<T>>,
    /// How to go on.
    page_info: PageInfo,
}

/// An entry of a list, and where it stands.
#[derive(SimpleObject)]
#[graphql(
    concrete(name = "AuditEdge", params(AuditEntry)),
    concrete(name = "NotificationEdge", params(Notification)),
    concrete(name = "RequestEdge", params(RequestStatus)),
    concrete(name = "TableExportJobStatusEdge", params(TableExportJobStatus))
)]
pub(in crate::api::graphql) struct Edge<T: OutputType> {
    /// Where it stands; for `after`, and for nothing else.
    cursor: String,
    /// The entry.
    node: T,
}

/// How to go on in a list.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct PageInfo {
    /// Whether there are entries after this page.
    has_next_page: bool,
    /// Whether this page began after a cursor.
    has_previous_page: bool,
    /// The cursor of the first entry; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the last entry, for `after`; null on an empty page.
    end_cursor: Option<String>,
}

/// A place in a list, written as text that callers do not look into.
pub(in crate::api::graphql) trait Cursor: Sized {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

/// Instants as the database counts them, in microseconds.
fn read_instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(text.parse().ok()?)
}

impl Cursor for i64 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Cursor for (DateTime<Utc>, JobId) {
    fn write(&self) -> String {
        format!("{}.{}", self.0.timestamp_micros(), self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        Some((read_instant(at)?, id.parse().ok()?))
    }
}

impl Cursor for (DateTime<Utc>, Uuid) {
    fn write(&self) -> String {
        format!("{}.{}", self.0.timestamp_micros(), self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        Some((read_instant(at)?, id.parse().ok()?))
    }
}

impl Cursor for (DateTime<Utc>, Uuid, String) {
    fn write(&self) -> String {
        format!("{}.{}.{}", self.0.timestamp_micros(), self.1, self.2)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (at, id, table) = (parts.next()?, parts.next()?, parts.next()?);
        Some((read_instant(at)?, id.parse().ok()?, Some(table).filter(|table| !table.contains('\0'))?.to_owned()))
    }
}

/// The page that `first` and `after` ask for. One entry more is read than shown, to know whether there is one.
pub(in crate::api::graphql) fn page<C: Cursor>(first: Option<i64>, after: Option<&str>) -> Result<Page<C>, Failure> {
    let first = first.unwrap_or(PAGE);
    let bad = |why: String| Failure::new(ErrorCode::BadRequest, why);
    if !(1..=LONGEST_PAGE).contains(&first) {
        return Err(bad(format!("first is {first}; a page has 1 to {LONGEST_PAGE} entries")));
    }
    let after = after
        .map(|text| C::read(text).ok_or_else(|| bad("after is no cursor of this list; take pageInfo.endCursor".into())))
        .transpose()?;
    Ok(Page { after, limit: first + 1 })
}

/// What a page costs: its fields as often as it has entries.
pub(in crate::api::graphql) fn page_cost(first: Option<i64>, entry: usize) -> usize {
    let entries = usize::try_from(first.unwrap_or(PAGE).clamp(1, LONGEST_PAGE)).unwrap_or(1);
    entries.saturating_mul(entry).saturating_add(1)
}

impl<T: OutputType> Connection<T>
where
    Edge<T>: OutputType,
{
    pub(in crate::api::graphql) fn empty() -> Self {
        Self {
            edges: Vec::new(),
            page_info: PageInfo {
                has_next_page: false,
                has_previous_page: false,
                start_cursor: None,
                end_cursor: None,
            },
        }
    }

    /// Of what was read for `page`.
    pub(in crate::api::graphql) fn of<R, C: Cursor>(
        rows: Vec<R>,
        page: &Page<C>,
        cursor: impl Fn(&R) -> C,
        node: impl Fn(R) -> T,
    ) -> Self {
        let shown = usize::try_from(page.limit - 1).unwrap_or(0);
        let has_next_page = rows.len() > shown;
        let edges: Vec<Edge<T>> =
            rows.into_iter().take(shown).map(|row| Edge { cursor: cursor(&row).write(), node: node(row) }).collect();
        let page_info = PageInfo {
            has_next_page,
            has_previous_page: page.after.is_some(),
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        Self { edges, page_info }
    }
}
