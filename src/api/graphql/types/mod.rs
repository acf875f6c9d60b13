//! The types of the schema, one file a subject.

mod audit;
mod classification;
mod connection;
mod coverage;
mod enums;
mod explained;
mod exported;
mod notices;
mod request_status;
mod revoked_links;
mod scalars;
mod stalled;
mod table_statuses;
mod tables;

pub(super) use self::audit::AuditEntry;
pub(super) use self::classification::{ChangedRule, Classification, ClassificationCode};
pub(super) use self::connection::{Connection, page, page_cost};
pub(super) use self::coverage::DayCoverage;
pub(super) use self::enums::{Compression, ExportFormat, ExportKind, RequestState, TableState};
pub(super) use self::explained::{ExplainedExport, UnclassifiedColumn};
pub(super) use self::exported::ExportedTable;
pub(super) use self::notices::{Notification, NotificationState};
pub(super) use self::request_status::RequestStatus;
pub(super) use self::revoked_links::RevokedLinks;
pub(super) use self::scalars::{Date, Long};
pub(super) use self::stalled::{ClearedRequest, StalledRequest};
pub(super) use self::table_statuses::{TableExportJobStatus, TableExportJobStatusFilter};
pub(super) use self::tables::{ExportError, ExportTable, TableStatus};
