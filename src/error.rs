//! The stable codes of every failure that somebody outside sees.
//!
//! A code is a promise: it appears in GraphQL `extensions.code`, in `table_export_job_statuses.error_code` and on
//! the command line, and each has a page under `docs/errors/`. Codes are added, never renamed.

use std::fmt;

/// Declares [`ErrorCode`] once: variant, text, and whether trying the same again can help.
macro_rules! codes {
    ($($(#[$doc:meta])+ $variant:ident = $text:literal, retryable: $retryable:literal;)+) => {
        /// A stable, documented name of a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])+ $variant,)+ }

        impl ErrorCode {
            /// Every code, in the order of its declaration.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The code as it is written outside, in SCREAMING_SNAKE_CASE.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)+ }
            }

            /// Whether the same request may succeed later without anybody changing anything.
            pub fn retryable(self) -> bool {
                match self { $(ErrorCode::$variant => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// The time range is empty, reversed, not in whole epoch seconds, or outside the years that can be stored.
    RangeInvalid = "RANGE_INVALID", retryable: false;
    /// The time range is longer than one day.
    RangeTooLong = "RANGE_TOO_LONG", retryable: false;
    /// The time range ends after the database's present.
    RangeInFuture = "RANGE_IN_FUTURE", retryable: false;
    /// A named table is not offered for on-demand export.
    TableNotOffered = "TABLE_NOT_OFFERED", retryable: false;
    /// A named table has no time column, so no time range can be cut from it.
    TableWithoutTime = "TABLE_WITHOUT_TIME", retryable: false;
    /// A table holds rows of several tenants, and nobody has said whose the schedule takes.
    TenantsUndecided = "TENANTS_UNDECIDED", retryable: false;
    /// No table at all is enabled for this kind of export.
    NoTables = "NO_TABLES", retryable: false;
    /// The same idempotency key was used before with other arguments.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", retryable: false;
    /// A day of the schedule is being exported already.
    DayInProgress = "DAY_IN_PROGRESS", retryable: true;
    /// Too many requests of this tenant are waiting already.
    TooManyRequests = "TOO_MANY_REQUESTS", retryable: true;
    /// The request cannot be read: not JSON, not GraphQL, too large, too deep or too complex.
    BadRequest = "BAD_REQUEST", retryable: false;
    /// Nobody can tell who asks.
    Unauthenticated = "UNAUTHENTICATED", retryable: false;
    /// The asker is known and may not do this.
    Forbidden = "FORBIDDEN", retryable: false;
    /// The asker has asked too much in a short time.
    RateLimited = "RATE_LIMITED", retryable: true;
    /// There is no such thing, or it is another tenant's.
    NotFound = "NOT_FOUND", retryable: false;
    /// The link has ended, or its file was deleted.
    LinkExpired = "LINK_EXPIRED", retryable: false;
    /// An administrator has ended the link.
    LinkRevoked = "LINK_REVOKED", retryable: false;
    /// The request was not read or answered in the time it is given.
    RequestTimeout = "REQUEST_TIMEOUT", retryable: true;
    /// A rule of the classification files or tables does not hold.
    RulesInvalid = "RULES_INVALID", retryable: false;
    /// The table that the rules enable does not exist in the warehouse.
    TableNotFound = "TABLE_NOT_FOUND", retryable: false;
    /// The rules leave no column of the table to export.
    NothingExportable = "NOTHING_EXPORTABLE", retryable: false;
    /// A column has a type that cannot be exported yet.
    TypeUnsupported = "TYPE_UNSUPPORTED", retryable: false;
    /// A column that would leave has another type than the one that was classified.
    ColumnRetyped = "COLUMN_RETYPED", retryable: false;
    /// The table changed between planning and reading.
    SchemaChanged = "SCHEMA_CHANGED", retryable: true;
    /// A value does not fit the type that the file has for it.
    ValueUnrepresentable = "VALUE_UNREPRESENTABLE", retryable: false;
    /// The warehouse cannot be reached, or ended the connection.
    WarehouseUnavailable = "WAREHOUSE_UNAVAILABLE", retryable: true;
    /// The warehouse refused the credentials, or the role may not read the table.
    WarehouseDenied = "WAREHOUSE_DENIED", retryable: false;
    /// The warehouse did not answer in the time it is given.
    WarehouseTimeout = "WAREHOUSE_TIMEOUT", retryable: true;
    /// The warehouse is a standby that is behind.
    ReplicaBehind = "REPLICA_BEHIND", retryable: true;
    /// The warehouse is a standby, and its replay needed what was being read.
    RecoveryConflict = "RECOVERY_CONFLICT", retryable: true;
    /// The warehouse sent something that cannot be understood.
    WarehouseProtocol = "WAREHOUSE_PROTOCOL", retryable: false;
    /// The object store cannot be reached, or answered with a passing fault.
    StorageUnavailable = "STORAGE_UNAVAILABLE", retryable: true;
    /// The object store refused the credentials or the action.
    StorageDenied = "STORAGE_DENIED", retryable: false;
    /// The topic for notifications does not exist.
    TopicNotFound = "TOPIC_NOT_FOUND", retryable: false;
    /// SNS refused the credentials or the action.
    NotificationDenied = "NOTIFICATION_DENIED", retryable: false;
    /// SNS refused a message.
    NotificationRefused = "NOTIFICATION_REFUSED", retryable: false;
    /// SNS cannot be reached, or answered with a passing fault.
    NotificationUnavailable = "NOTIFICATION_UNAVAILABLE", retryable: true;
    /// The bucket does not exist.
    BucketNotFound = "BUCKET_NOT_FOUND", retryable: false;
    /// The warehouse sent a row or a cell that the policy does not let through; nothing was published.
    PolicyBreach = "POLICY_BREACH", retryable: false;
    /// The policy asks for pseudonyms, and the process has no key for them.
    PseudonymKeyMissing = "PSEUDONYM_KEY_MISSING", retryable: false;
    /// The staged files are not what the policy and the plan say they must be; nothing was published.
    GateRefused = "GATE_REFUSED", retryable: false;
    /// The staged files hold personal data that should have been removed; nothing was published.
    GateFoundPersonalData = "GATE_FOUND_PERSONAL_DATA", retryable: false;
    /// A manifest with other content exists already where this one belongs.
    ManifestConflict = "MANIFEST_CONFLICT", retryable: false;
    /// Nothing of the attempt moved for too long.
    NoProgress = "NO_PROGRESS", retryable: true;
    /// An administrator has ended the request because nothing of it moved.
    Stalled = "STALLED", retryable: true;
    /// The request cannot be cleared: it moves, waits or has ended.
    NotStalled = "NOT_STALLED", retryable: false;
    /// Several workers died while they worked on this partition.
    PoisonPartition = "POISON_PARTITION", retryable: false;
    /// The export was cancelled.
    Cancelled = "CANCELLED", retryable: false;
    /// The metadata database cannot be reached or cannot store anything now.
    MetadataUnavailable = "METADATA_UNAVAILABLE", retryable: true;
    /// A setting is missing or wrong.
    SettingsInvalid = "SETTINGS_INVALID", retryable: false;
    /// Local mode cannot set up a part of itself.
    LocalSetupFailed = "LOCAL_SETUP_FAILED", retryable: false;
    /// A fault of the exporter itself; its cause is in the log.
    Internal = "INTERNAL", retryable: true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as it is shown outside: a stable code and a message that names the thing and the way out.
///
/// The message never holds cell values, credentials or the text of an inner error that might.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{code}]")]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// One or two sentences for the reader.
    pub message: String,
}

impl Failure {
    /// A failure of this code with this message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
