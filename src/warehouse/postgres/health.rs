//! How the server and the role are set up, for whoever asks what is wrong.

use std::time::Duration;

use sqlx::{PgPool, Row};

use super::super::{Health, WarehouseError};
use super::error::Doing;

/// A standby that has replayed all it was sent is not behind, however long ago the last commit was.
const ASK: &str = "
SELECT pg_catalog.current_setting('server_version') AS version,
       pg_catalog.pg_is_in_recovery() AS standby,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL
            WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())
       END::float8 AS lag,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND n.nspname NOT LIKE 'pg\\_%'
          AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writable";

pub(super) async fn health(pool: &PgPool) -> Result<Health, WarehouseError> {
    let doing = Doing::now("asking how it is set up");
    let row = sqlx::query(ASK).fetch_one(pool).await.map_err(|error| doing.failed(&error))?;
    let read = || -> Result<Health, sqlx::Error> {
        let standby: bool = row.try_get("standby")?;
        let lag: Option<f64> = row.try_get("lag")?;
        Ok(Health {
            version: format!("PostgreSQL {}", row.try_get::<String, _>("version")?),
            lag: standby.then(|| Duration::try_from_secs_f64(lag.unwrap_or_default()).unwrap_or_default()),
            superuser: row.try_get("superuser")?,
            writable_tables: row.try_get("writable")?,
        })
    };
    read().map_err(|error| doing.failed(&error))
}
