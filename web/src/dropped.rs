//! Folders and files that a reader chooses or drops on the page.

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DragEvent, File, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry};

/// A file with its place below what was chosen, without a leading slash.
pub type Placed = (String, File);

/// The files of a folder that was chosen, with their places.
pub fn placed(files: Vec<File>) -> Vec<Placed> {
    let place = |file: &File| {
        let path = Reflect::get(file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
        path.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name())
    };
    files.into_iter().map(|file| (place(&file), file)).collect()
}

/// What was dropped. It must be asked for while the event is handled; the files come later.
pub fn entries(event: &DragEvent) -> Vec<FileSystemEntry> {
    let Some(items) = event.data_transfer().map(|data| data.items()) else { return Vec::new() };
    let entry = |index| items.get(index)?.webkit_get_as_entry().ok().flatten();
    (0..items.length()).filter_map(entry).collect()
}

/// Files that were dropped from where there are no folders, such as another program.
pub fn loose(event: &DragEvent) -> Vec<Placed> {
    let files = event.data_transfer().and_then(|data| data.files());
    placed(files.map(|files| Array::from(&files).iter().map(JsCast::unchecked_into).collect()).unwrap_or_default())
}

/// All files of what was dropped, those of folders too.
pub async fn files(entries: Vec<FileSystemEntry>) -> Vec<Placed> {
    let (mut pending, mut found) = (entries, Vec::new());
    while let Some(entry) = pending.pop() {
        // Asked for its kind: not every browser exposes the classes of entries.
        if entry.is_directory() {
            let reader = entry.unchecked_ref::<FileSystemDirectoryEntry>().create_reader();
            loop {
                // Some at a time, none at the end.
                let some = called_back(|done| reader.read_entries_with_callback(done)).await;
                let some = some.map(JsCast::unchecked_into::<Array>).filter(|some| some.length() > 0);
                let Some(some) = some else { break };
                pending.extend(some.iter().map(JsCast::unchecked_into::<FileSystemEntry>));
            }
        } else {
            let file = entry.unchecked_ref::<FileSystemFileEntry>();
            let place = entry.full_path().trim_start_matches('/').to_owned();
            let file = called_back(|done| Ok(file.file_with_callback(done))).await;
            found.extend(file.map(|file| (place, file.unchecked_into())));
        }
    }
    found
}

/// The files of the one model among those that were chosen, with the name of its folder where it has one.
///
/// # Errors
/// The folders, where there are several models.
pub fn one_model(placed: Vec<Placed>) -> Result<(Option<String>, Vec<File>), Vec<String>> {
    let folder_of = |place: &str| place.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let configs = placed.iter().filter(|(place, _)| place.rsplit('/').next() == Some("config.json"));
    let mut folders: Vec<String> = configs.map(|(place, _)| folder_of(place)).collect();
    folders.sort();
    if folders.len() > 1 {
        return Err(folders);
    }
    // A folder without a model is refused where its files are missed.
    let folder = folders.pop().unwrap_or_else(|| folder_of(placed.first().map_or("", |file| &file.0)));
    let name = folder.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    let files = placed.into_iter().filter(|(place, _)| folder_of(place) == folder).map(|(_, file)| file);
    Ok((name, files.collect()))
}

/// What a function gives to its callback.
async fn called_back(call: impl FnOnce(&Function) -> Result<(), JsValue>) -> Option<JsValue> {
    let mut call = Some(call);
    let promise = Promise::new(&mut |done, failed| {
        if let Some(Err(cause)) = call.take().map(|call| call(&done)) {
            // A promise takes every reason.
            let _ = failed.call1(&JsValue::UNDEFINED, &cause);
        }
    });
    JsFuture::from(promise).await.ok()
}
