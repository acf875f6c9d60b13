//! What every worker does beside its work: takes back what lost workers held, ends what is to end, and removes what
//! dead attempts have left. Whichever replica comes first does it.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::jobs::{Leftover, Queue, QueueError, Unpublished};
use crate::storage::{ObjectKey, ObjectStore, UploadId};

/// One round.
pub(super) async fn sweep(queue: &Queue, store: &Arc<dyn ObjectStore>) -> Result<(), QueueError> {
    queue.reap().await?;
    queue.end_jobs().await?;
    clear(queue, store).await
}

/// Removes what is recorded as left, as long as there is any.
pub(super) async fn clear(queue: &Queue, store: &Arc<dyn ObjectStore>) -> Result<(), QueueError> {
    while queue.clear_leftovers(leftover_remover(store)).await? > 0 {}
    while queue.clear_unpublished(unpublished_remover(store)).await? > 0 {}
    Ok(())
}

fn leftover_remover(store: &Arc<dyn ObjectStore>) -> impl Fn(Leftover) -> BoxFuture<'static, bool> + use<> {
    let store = Arc::clone(store);
    move |left| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            let Ok(key) = ObjectKey::new(left.staging_key) else { return true };
            // The worker may have died before it could record the id that it was given, and where an answer was lost and
            // the upload opened once more, it knows of one of two. The key is the attempt's alone, and recorded before:
            // whatever is open under it is ours.
            let Ok(mut uploads) = store.open_uploads(&key).await else { return false };
            let recorded = left.upload_id.map(UploadId).filter(|id| !uploads.contains(id));
            uploads.extend(recorded);
            for id in uploads {
                if store.abort_multipart(&key, &id).await.is_err() {
                    return false;
                }
            }
            store.delete(&key).await.is_ok()
        })
    }
}

fn unpublished_remover(store: &Arc<dyn ObjectStore>) -> impl Fn(Unpublished) -> BoxFuture<'static, bool> + use<> {
    let store = Arc::clone(store);
    move |left| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            for key in left.keys {
                let Ok(key) = ObjectKey::new(key) else { continue };
                // Large objects are copied in parts.
                let Ok(uploads) = store.open_uploads(&key).await else { return false };
                for id in uploads {
                    if store.abort_multipart(&key, &id).await.is_err() {
                        return false;
                    }
                }
                if store.delete(&key).await.is_err() {
                    return false;
                }
            }
            true
        })
    }
}
