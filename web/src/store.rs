//! Models in the browser's own storage (the origin's private file system), used by the page and by its worker.
//!
//! `anaume/files/` holds files under their SHA-256, each as `….part` until it is whole and checked, with the server's entity
//! tag in `….etag`; `anaume/models/` holds a [`ModelRecord`] for each model, written before its first file. What no record
//! names is removed.

use std::collections::HashSet;

use js_sys::{AsyncIterator, Promise, Reflect};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DomException, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemRemoveOptions, FileSystemSyncAccessHandle,
    StorageEstimate, StorageManager,
};

use crate::fetch::text_of;
use crate::record::{ModelFile, ModelRecord};

#[wasm_bindgen]
extern "C" {
    /// Files that can be renamed; web-sys has no such call yet.
    type Movable;
    #[wasm_bindgen(method, js_name = move)]
    fn move_to(this: &Movable, name: &str) -> Promise;
}

/// Folder of everything that is stored.
const HOME: &str = "anaume";

/// The storage of this browser for this site.
pub struct Store {
    root: FileSystemDirectoryHandle,
    files: FileSystemDirectoryHandle,
    models: FileSystemDirectoryHandle,
}

/// A stored model.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What it is.
    pub record: ModelRecord,
    /// Bytes of it that are here.
    pub bytes: u64,
    /// Whether all its files are here, whole.
    pub is_whole: bool,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Room {
    /// Bytes that this site may store still.
    pub free_bytes: u64,
    /// Bytes that it stores, the page itself among them.
    pub used_bytes: u64,
    /// Whether the browser promised to delete nothing by itself.
    pub is_persistent: bool,
}

/// The result of a promise, as what it is known to be.
async fn wait<T: JsCast>(promise: Promise) -> Result<T, JsValue> {
    JsFuture::from(promise).await.map(JsCast::unchecked_into)
}

fn manager() -> Option<StorageManager> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let manager = Reflect::get(&navigator, &"storage".into()).ok()?;
    manager.is_object().then(|| manager.unchecked_into())
}

/// How much room there is; `None` where the browser does not say.
pub async fn room() -> Option<Room> {
    let manager = manager()?;
    let estimate: StorageEstimate = wait(manager.estimate().ok()?).await.ok()?;
    let [quota, used] = [estimate.get_quota()?, estimate.get_usage()?];
    let is_persistent = JsFuture::from(manager.persisted().ok()?).await.is_ok_and(|is| is.is_truthy());
    Some(Room { free_bytes: (quota - used).max(0.0) as u64, used_bytes: used as u64, is_persistent })
}

/// Asks the browser not to delete anything by itself; only the page may ask.
pub async fn persist() {
    if let Some(promise) = manager().and_then(|manager| manager.persist().ok()) {
        // A browser that does not promise it keeps the models as long as it sees fit.
        let _ = JsFuture::from(promise).await;
    }
}

async fn folder(parent: &FileSystemDirectoryHandle, name: &str) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    wait(parent.get_directory_handle_with_options(name, &options)).await
}

/// Names in a folder.
async fn names(folder: &FileSystemDirectoryHandle) -> Result<Vec<String>, JsValue> {
    let (keys, mut found): (AsyncIterator, _) = (folder.keys(), Vec::new());
    loop {
        let next = JsFuture::from(keys.next()?).await?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            return Ok(found);
        }
        found.extend(Reflect::get(&next, &"value".into())?.as_string());
    }
}

/// The file of this name, if it is there.
async fn file_in(folder: &FileSystemDirectoryHandle, name: &str) -> Option<File> {
    let handle: FileSystemFileHandle = wait(folder.get_file_handle(name)).await.ok()?;
    wait(handle.get_file()).await.ok()
}

/// A file open for writing by this worker alone.
async fn open_alone(
    folder: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<(FileSystemFileHandle, FileSystemSyncAccessHandle), JsValue> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let file: FileSystemFileHandle = wait(folder.get_file_handle_with_options(name, &options)).await?;
    let access = wait(file.create_sync_access_handle()).await?;
    Ok((file, access))
}

/// Puts a small text in place of what a file holds.
async fn write_text(folder: &FileSystemDirectoryHandle, name: &str, text: &str) -> Result<(), JsValue> {
    let (_, access) = open_alone(folder, name).await?;
    let written = access.truncate_with_u32(0).and_then(|()| access.write_with_u8_array(text.as_bytes()));
    access.close();
    written.map(drop)
}

impl Store {
    /// The storage, made if need be; `None` where the browser gives none, as in some private windows.
    pub async fn open() -> Option<Self> {
        let manager = manager()?;
        if !Reflect::has(&manager, &"getDirectory".into()).ok()? {
            return None;
        }
        let root: FileSystemDirectoryHandle = wait(manager.get_directory()).await.ok()?;
        let home = folder(&root, HOME).await.ok()?;
        let (files, models) = (folder(&home, "files").await.ok()?, folder(&home, "models").await.ok()?);
        Some(Self { root, files, models })
    }

    /// The record of this id; `None` where there is none that can be read.
    pub async fn record(&self, id: &str) -> Option<ModelRecord> {
        let file = file_in(&self.models, &format!("{id}.json")).await?;
        serde_json::from_str(&text_of(&file).await.ok()?).ok()
    }

    /// Notes what a model is; only a worker can.
    pub async fn write_record(&self, record: &ModelRecord) -> Result<(), JsValue> {
        let json = serde_json::to_string(record).expect("records have string keys only, so they are always JSON");
        write_text(&self.models, &format!("{}.json", record.id()), &json).await
    }

    async fn records(&self) -> Result<Vec<ModelRecord>, JsValue> {
        let mut records = Vec::new();
        for name in names(&self.models).await? {
            records.extend(self.record(name.trim_end_matches(".json")).await);
        }
        Ok(records)
    }

    /// All models of which something is here, the newest last.
    pub async fn held(&self) -> Vec<Held> {
        let mut all = Vec::new();
        for record in self.records().await.unwrap_or_default() {
            let (bytes, is_whole) = self.bytes_of(&record).await;
            all.push(Held { record, bytes, is_whole });
        }
        let time = |held: &Held| held.record.stored_at.unwrap_or(f64::INFINITY);
        all.sort_by(|one, other| time(one).total_cmp(&time(other)));
        all
    }

    /// How many bytes of a model are here, and whether all its files are here whole.
    pub async fn bytes_of(&self, record: &ModelRecord) -> (u64, bool) {
        let (mut bytes, mut is_whole) = (0, true);
        for file in &record.files {
            if self.whole(file).await.is_some() {
                bytes += file.size_bytes;
            } else {
                let part = file_in(&self.files, &format!("{}.part", file.key())).await;
                bytes += part.map_or(0, |part| part.size() as u64).min(file.size_bytes);
                is_whole = false;
            }
        }
        (bytes, is_whole)
    }

    /// The stored file, if it is here and whole.
    pub async fn whole(&self, file: &ModelFile) -> Option<File> {
        let found = file_in(&self.files, &file.key()).await?;
        (found.size() as u64 == file.size_bytes).then_some(found)
    }

    /// Removes a file, whole or not.
    pub async fn remove_file(&self, file: &ModelFile) {
        for end in ["", ".part", ".etag"] {
            // What is not there need not be removed.
            let _ = JsFuture::from(self.files.remove_entry(&format!("{}{end}", file.key()))).await;
        }
    }

    /// Removes a model's record and every file that no other record names.
    ///
    /// # Errors
    /// A model that another tab is loading, which keeps it.
    pub async fn remove(&self, record: &ModelRecord) -> Result<(), JsValue> {
        for file in &record.files {
            match JsFuture::from(self.files.remove_entry(&format!("{}.part", file.key()))).await {
                Err(cause) if is_busy(&cause) => return Err(cause),
                _ => {}
            }
        }
        JsFuture::from(self.models.remove_entry(&format!("{}.json", record.id()))).await?;
        self.collect().await
    }

    /// Notes that a model is whole, in place of its earlier versions.
    pub async fn complete(&self, record: &ModelRecord) -> Result<(), JsValue> {
        self.write_record(record).await?;
        for other in self.records().await? {
            if (&other.address, &other.name) == (&record.address, &record.name) && other.id() != record.id() {
                JsFuture::from(self.models.remove_entry(&format!("{}.json", other.id()))).await?;
            }
        }
        self.collect().await
    }

    /// Removes files that no record names.
    async fn collect(&self) -> Result<(), JsValue> {
        // Files first: one that appears later belongs to a record that is here by the time the records are read.
        let files = names(&self.files).await?;
        let records = self.records().await?;
        let named: HashSet<String> = records.iter().flat_map(|record| &record.files).map(ModelFile::key).collect();
        for name in files.iter().filter(|name| !named.contains(name.split('.').next().unwrap_or_default())) {
            JsFuture::from(self.files.remove_entry(name)).await?;
        }
        Ok(())
    }

    /// Removes everything.
    ///
    /// # Errors
    /// A model that another tab is loading.
    pub async fn clear(&self) -> Result<(), JsValue> {
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        JsFuture::from(self.root.remove_entry_with_options(HOME, &options)).await.map(drop)
    }

    /// Opens what is here of a file, to go on with it.
    ///
    /// # Errors
    /// [`is_busy`] tells whether another tab has it open.
    pub async fn part(&self, file: &ModelFile) -> Result<Part, JsValue> {
        let key = file.key();
        let (handle, access) = open_alone(&self.files, &format!("{key}.part")).await?;
        let len = access.get_size()? as u64;
        Ok(Part { folder: self.files.clone(), key, handle, access, len })
    }
}

/// Whether a file could not be opened since someone else has it open.
pub fn is_busy(cause: &JsValue) -> bool {
    cause.dyn_ref::<DomException>().is_some_and(|cause| cause.name() == "NoModificationAllowedError")
}

/// Whether there is no room for what was to be written.
pub fn is_full(cause: &JsValue) -> bool {
    cause.dyn_ref::<DomException>().is_some_and(|cause| cause.name() == "QuotaExceededError")
}

/// A file of which only the beginning is here. Nobody else can open it meanwhile.
pub struct Part {
    folder: FileSystemDirectoryHandle,
    key: String,
    handle: FileSystemFileHandle,
    access: FileSystemSyncAccessHandle,
    /// Bytes that are here.
    len: u64,
}

impl Part {
    /// What is here, to be read.
    pub async fn file(&self) -> Result<File, JsValue> {
        wait(self.handle.get_file()).await
    }

    /// The entity tag of the version whose beginning this is.
    pub async fn etag(&self) -> Option<String> {
        let file = file_in(&self.folder, &format!("{}.etag", self.key)).await?;
        text_of(&file).await.ok().filter(|tag| !tag.is_empty())
    }

    /// Notes the entity tag of the version that is being written.
    pub async fn set_etag(&self, tag: &str) -> Result<(), JsValue> {
        write_text(&self.folder, &format!("{}.etag", self.key), tag).await
    }

    /// Writes bytes behind those that are here.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), JsValue> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(self.len as f64);
        let written = self.access.write_with_u8_array_and_options(bytes, &options)?;
        self.len += written as u64;
        if written as usize == bytes.len() {
            return Ok(());
        }
        Err(DomException::new_with_message_and_name("the disk took a part only", "QuotaExceededError")?.into())
    }

    /// Forgets what is here.
    pub fn clear(&mut self) -> Result<(), JsValue> {
        self.len = 0;
        self.access.truncate_with_u32(0)
    }

    /// Makes the file whole, under its SHA-256.
    pub async fn finish(self, sha256: &str) -> Result<File, JsValue> {
        let (folder, key, handle) = (self.folder.clone(), self.key.clone(), self.handle.clone());
        self.access.flush()?;
        drop(self);
        JsFuture::from(handle.unchecked_ref::<Movable>().move_to(sha256)).await?;
        // Without it nothing can go wrong.
        let _ = JsFuture::from(folder.remove_entry(&format!("{key}.etag"))).await;
        file_in(&folder, sha256).await.ok_or_else(|| "the file is gone".into())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.access.close();
    }
}
