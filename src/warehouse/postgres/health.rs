//! How the server and the role are set up, for whoever asks what is wrong.

use sqlx::{PgPool, Row};

use super::super::{Health, Lag, WarehouseError};
use super::error::Doing;
use super::wire::Address;

const ASK: &str = "
SELECT pg_catalog.current_setting('server_version') AS version,
       (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()) AS encrypted,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND n.nspname NOT LIKE 'pg\\_%'
          AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writable";

pub(super) async fn health(pool: &PgPool, address: &Address, lag: Lag) -> Result<Health, WarehouseError> {
    let doing = Doing::now("asking how it is set up");
    let row = sqlx::query(ASK).fetch_one(pool).await.map_err(|error| doing.failed(&error))?;
    let read = || -> Result<Health, sqlx::Error> {
        Ok(Health {
            version: format!("PostgreSQL {}", row.try_get::<String, _>("version")?),
            lag,
            transport: address.transport(row.try_get::<Option<bool>, _>("encrypted")?.unwrap_or(false)),
            superuser: row.try_get("superuser")?,
            writable_tables: row.try_get("writable")?,
        })
    };
    read().map_err(|error| doing.failed(&error))
}
