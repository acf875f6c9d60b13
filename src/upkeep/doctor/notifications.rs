//! Whether notifications can leave, and whether some were given up.

use sqlx::postgres::PgPool;

use super::Finding;
use crate::error::Failure;
use crate::jobs::outbox::{Outbox, SendingRules};

const CHECK: &str = "notifications";

/// What the receiver has answered; `None` where no topic is set. Nothing is published to find out.
pub fn notifications(answered: Option<Result<(), Failure>>) -> Finding {
    match answered {
        None => Finding::ok(CHECK, "EXPORTER_SNS_TOPIC_ARN is not set; what there is to tell is in the log"),
        Some(Ok(())) => {
            Finding::ok(CHECK, "the topic answers; that it may be published to is seen with the first message")
        }
        Some(Err(failure)) => Finding::of(CHECK, &failure),
    }
}

/// Notifications that were given up.
pub async fn given_up(pool: &PgPool) -> Finding {
    match Outbox::new(pool.clone(), SendingRules::default()).waiting().await {
        Ok(waiting) if waiting.dead == 0 => Finding::ok("outbox", format!("{} wait to be sent", waiting.pending)),
        Ok(waiting) => Finding::warn(
            "outbox",
            format!(
                "{} notifications were given up; see notifications(state: DEAD) and, when their cause is gone, resendNotification",
                waiting.dead
            ),
        ),
        Err(failure) => Finding::of("outbox", &failure),
    }
}
