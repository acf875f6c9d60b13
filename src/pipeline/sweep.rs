//! What every worker does beside its work: takes back what lost workers held, ends what is to end, and removes what
//! dead attempts have left. Whichever replica comes first does it.

use std::sync::{Arc, Once};

use futures::future::BoxFuture;

use crate::jobs::{Leftover, Queue, QueueError, Unpublished};
use crate::storage::{ObjectKey, ObjectStore, StorageError, UploadId};

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
            // The worker may have died before it could record the id that it was given. The key is the attempt's alone, and
            // recorded before: whatever is open under it is ours.
            if end_uploads(store.as_ref(), &key, left.upload_id.map(UploadId)).await.is_err() {
                return false;
            }
            store.delete(&key).await.is_ok()
        })
    }
}

/// Aborts every upload that is open under this key, and the one that is known of it. There may be others: where an answer is
/// lost, an upload is opened once more.
///
/// # Errors
/// When it is not sure that none is left. A store that lets us abort but not list is not asked for what we do not know.
pub(super) async fn end_uploads(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    known: Option<UploadId>,
) -> Result<(), StorageError> {
    static TOLD: Once = Once::new();
    let mut uploads = match store.open_uploads(key).await {
        Err(StorageError::Denied { detail, .. }) if detail.contains("AccessDenied") => {
            TOLD.call_once(|| {
                tracing::warn!("the store refuses to list uploads (ListBucketMultipartUploads): some may stay open");
            });
            Vec::new()
        }
        listed => listed?,
    };
    let unlisted = known.filter(|id| !uploads.contains(id));
    uploads.extend(unlisted);
    for id in uploads {
        store.abort_multipart(key, &id).await?;
    }
    Ok(())
}

fn unpublished_remover(store: &Arc<dyn ObjectStore>) -> impl Fn(Unpublished) -> BoxFuture<'static, bool> + use<> {
    let store = Arc::clone(store);
    move |left| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            for key in left.keys {
                let Ok(key) = ObjectKey::new(key) else { continue };
                // Large objects are copied in parts.
                if end_uploads(store.as_ref(), &key, None).await.is_err() {
                    return false;
                }
                if store.delete(&key).await.is_err() {
                    return false;
                }
            }
            true
        })
    }
}
