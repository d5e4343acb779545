//! What a server tells systemd: that it is ready, that it stops, and that it can still answer.
//!
//! Without `NOTIFY_SOCKET`, as outside of a service of `Type=notify`, nothing is told.

use sd_notify::NotifyState;

use crate::service::Service;
use crate::store::StoreError;

/// Tells systemd the state of the server.
pub(super) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "can not tell systemd how the server is");
    }
}

/// Reports twice in each of systemd's watchdog periods, as long as the server can answer. Returns at once if there is
/// no watchdog.
pub(super) async fn report_to_watchdog(service: Service) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        if can_answer(&service).await {
            notify(NotifyState::Watchdog);
        } else {
            tracing::error!("reads fail or the writer has ended: systemd is not told that the server is well");
        }
        tokio::time::sleep(period / 2).await;
    }
}

/// Whether reads are answered and the writer thread lives, which only a restart brings back.
///
/// A full disk is no reason for a restart: reads go on, and the writer takes writes again by itself.
async fn can_answer(service: &Service) -> bool {
    match service.stats_and_health().await {
        Ok((_, health)) => !matches!(health.write_failure.as_deref(), Some(StoreError::Stopped)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Settings;
    use crate::store::Store;

    #[tokio::test]
    async fn a_server_whose_writer_has_ended_is_not_well() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("overlaid.redb")).unwrap();
        let service = Service::start(store, Settings::built_in().unwrap()).unwrap();
        assert!(can_answer(&service).await);
        service.stop();
        assert!(!can_answer(&service).await);
    }
}
