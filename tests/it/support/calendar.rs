//! The day that it is while a test runs.

use std::time::Duration;

/// So long the tests that ask for it take at most.
const TEST: Duration = Duration::from_secs(60);

/// Waits for the next day in UTC where this one is nearly over, for tests whose "today" must stay what it is.
pub(crate) async fn away_from_midnight() {
    const DAY: u64 = 86_400;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(DAY - now.as_secs() % DAY);
    if left < TEST {
        tokio::time::sleep(left).await;
    }
}
