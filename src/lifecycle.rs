//! How a process is told to end: the first signal asks, the second insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM or SIGINT cancels: stop taking work, give back what is in hand, end. A second signal ends the
/// process at once, with the exit code that shells give for it.
///
/// # Errors
/// When the operating system does not let signals be caught.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = stop.clone();
    tokio::spawn(async move {
        for round in 0_u8.. {
            let code = tokio::select! {
                _ = terminate.recv() => 128 + 15,
                _ = interrupt.recv() => 128 + 2,
            };
            if round > 0 {
                std::process::exit(code);
            }
            tracing::info!("stopping; a second signal ends at once");
            told.cancel();
        }
    });
    Ok(stop)
}
