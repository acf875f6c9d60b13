//! Lists: open uploads of one key, and names in one folder. What is absent from a list says nothing.

use super::S3Store;
use super::errors::Fault;
use crate::storage::{MOST_LISTED, ObjectKey, StorageError, UploadId};

impl S3Store {
    /// A key's prefix is other keys' too, so answers are held to the key itself.
    pub(super) async fn uploads_of(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        let mut found = Vec::new();
        let (mut after_key, mut after_upload) = (None, None);
        loop {
            let request = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(key.as_str())
                .set_key_marker(after_key.take())
                .set_upload_id_marker(after_upload.take());
            let answer = request.send().await.map_err(|e| self.error(Fault::of(&e), "list uploads of", key))?;
            let own = answer.uploads().iter().filter(|upload| upload.key() == Some(key.as_str()));
            found.extend(own.filter_map(|upload| upload.upload_id()).map(|id| UploadId(id.to_owned())));
            (after_key, after_upload) =
                (answer.next_key_marker().map(str::to_owned), answer.next_upload_id_marker().map(str::to_owned));
            if !answer.is_truncated().unwrap_or(false) || after_key.is_none() {
                return Ok(found);
            }
        }
    }

    pub(super) async fn names_in(&self, folder: &ObjectKey) -> Result<Vec<String>, StorageError> {
        let prefix = format!("{folder}/");
        let mut names = Vec::new();
        let mut next = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .delimiter("/")
                .set_continuation_token(next.take());
            let answer = request.send().await.map_err(|e| self.error(Fault::of(&e), "list", folder))?;
            let keys = answer.contents().iter().filter_map(|object| object.key()?.strip_prefix(&prefix));
            names.extend(keys.filter(|name| !name.is_empty()).map(str::to_owned));
            next = answer.next_continuation_token().map(str::to_owned);
            if next.is_none() || names.len() >= MOST_LISTED {
                names.truncate(MOST_LISTED);
                return Ok(names);
            }
        }
    }
}
