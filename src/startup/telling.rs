//! Wiring for notifications: which receiver the settings name, and what sends to it.

use std::sync::Arc;

use sqlx::postgres::PgPool;

use crate::config::Settings;
use crate::error::Failure;
use crate::jobs::outbox::{Outbox, SendingRules};
use crate::notify::{LogNotifier, Notifier, Origin, Sender, SnsNotifier, SnsSettings, Watch};
use crate::pipeline::Layout;

/// What sends notifications from this process. `bucket` is where exports are.
pub(super) async fn sender(settings: &Settings, pool: &PgPool, bucket: &str) -> Result<Sender, Failure> {
    let notifier: Arc<dyn Notifier> = match sns(settings).await? {
        Some(topic) => Arc::new(topic),
        None => Arc::new(LogNotifier),
    };
    let (bucket, layout) = (bucket.to_owned(), Layout::new(&settings.env));
    let origin = Origin {
        environment: settings.env.clone(),
        folder: Arc::new(move |date| format!("s3://{bucket}/{}", layout.day(date))),
    };
    let watch = Watch { stall: settings.stall, start_deadline: settings.start_deadline };
    Ok(Sender::new(Outbox::new(pool.clone(), SendingRules::default()), notifier, origin, watch))
}

/// The topic of the settings, if one is named; nothing is asked of it yet.
pub(super) async fn sns(settings: &Settings) -> Result<Option<SnsNotifier>, Failure> {
    match &settings.sns_topic {
        Some(arn) => Ok(Some(SnsNotifier::connect(SnsSettings::new(arn.parse()?)).await)),
        None => Ok(None),
    }
}
