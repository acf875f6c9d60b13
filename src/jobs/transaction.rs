//! Beginning a transaction on the metadata database.

use sqlx::postgres::{PgPool, Postgres};
use sqlx::{Error, Transaction};

/// Begins a transaction that is rolled back when it is dropped, and also when its caller is dropped while it begins.
///
/// Futures of ours are dropped all the time: by a client that goes away, a worker that is told to stop. sqlx 0.9.0 raises
/// its count of open transactions when `BEGIN` is answered (sqlx issue 4393). Dropped before that, the connection goes back
/// to the pool in the middle of a transaction that nobody knows of: what others do there afterwards is seen by them alone,
/// keeps its locks, and is lost. So `BEGIN` is waited for by a task of its own, which nobody drops.
///
/// # Errors
/// As of [`PgPool::begin`].
pub(crate) async fn begin_transaction(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let pool = pool.clone();
    // A task is lost when the runtime ends, and its connection with it.
    tokio::spawn(async move { pool.begin().await }).await.unwrap_or(Err(Error::WorkerCrashed))
}
