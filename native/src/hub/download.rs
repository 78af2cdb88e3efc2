//! Files of the Hub into the cache: what was begun is gone on with, and nothing appears before its hash was checked.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::{Digest, DynDigest};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::cache::Cache;
use super::http::{Client, Failure, Tries};
use super::listing::{Entry, Listing};
use crate::exit::{Coded, Exit};
use crate::files::{folder_of, make_dir, sync_dir, unreadable};
use crate::progress::{Progress, format_bytes};
use crate::signals;

const CHUNK_BYTES: usize = 1 << 18;

/// Downloads those of the named files that the cache lacks.
pub fn files(client: &Client<'_>, cache: &Cache, listing: &Listing, names: &[String]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for name in names {
        let entry = listing.entry(name).expect("names are taken from the listing");
        if !cache.place(&listing.commit, name)?.exists() {
            missing.push((name, entry));
        }
    }
    let lacks = |entry: &Entry| !cache.blob(entry.hash()).exists();
    let sizes = missing.iter().filter(|(_, entry)| lacks(entry)).map(|(_, entry)| entry.num_bytes());
    let total = sizes.fold(0, u64::saturating_add);
    let mut meter = (total > 0).then(|| {
        eprintln!("downloading the {}", client.repo);
        Meter::new(total)
    });
    for (name, entry) in missing {
        // One process downloads, the others wait and find the file.
        let _lock = cache.lock(entry.hash())?;
        if lacks(entry) {
            let meter = meter.get_or_insert_with(|| Meter::new(entry.num_bytes()));
            let download = Download { client, commit: &listing.commit, name, entry, cache };
            download.run(meter)?;
        }
        cache.link(&listing.commit, name, entry)?;
    }
    if let Some(meter) = meter {
        meter.progress.finish("");
    }
    Ok(())
}

/// What has been downloaded of all files.
struct Meter {
    progress: Progress,
    position: u64,
    received: u64,
    start: Instant,
}

impl Meter {
    fn new(total: u64) -> Self {
        Self { progress: Progress::new(total, "bytes", 0), position: 0, received: 0, start: Instant::now() }
    }

    fn receive(&mut self, num_bytes: u64) {
        self.received += num_bytes;
        self.position += num_bytes;
        let rate = self.received as f64 / self.start.elapsed().as_secs_f64();
        self.progress.set(self.position, &format!("{}/s", format_bytes(rate as u64)));
    }
}

/// A file on its way.
struct Download<'a> {
    client: &'a Client<'a>,
    commit: &'a str,
    name: &'a str,
    entry: &'a Entry,
    cache: &'a Cache,
}

impl Download<'_> {
    /// Downloads, checks and puts in place.
    fn run(&self, meter: &mut Meter) -> anyhow::Result<()> {
        let blob = self.cache.blob(self.entry.hash());
        make_dir(folder_of(&blob))?;
        let mut partial = Partial::open(blob.with_added_extension("incomplete"), self.entry)?;
        let begun = partial.len;
        meter.position += begun;
        self.receive_all(&mut partial, meter)?;
        if partial.hash() != self.entry.hash() && begun > 0 {
            // What an earlier run left may be damaged, or of a server that lied.
            eprintln!("{}: its beginning was damaged; downloading it from the start", self.name);
            meter.position -= partial.len;
            partial.clear().with_context(|| partial.place())?;
            self.receive_all(&mut partial, meter)?;
        }
        let hash = partial.hash();
        if hash != self.entry.hash() {
            fs::remove_file(&partial.path).with_context(|| partial.place())?;
            return Err(self.wrong(format!("has the hash {hash}, not {}", self.entry.hash())));
        }
        let put = || partial.file.sync_all().and_then(|()| fs::rename(&partial.path, &blob));
        put().with_context(|| partial.place())?;
        sync_dir(folder_of(&blob))
    }

    /// Asks until all bytes are there, however often the connection breaks off, as long as more comes each time.
    fn receive_all(&self, partial: &mut Partial, meter: &mut Meter) -> anyhow::Result<()> {
        let (mut tries, mut furthest) = (Tries::default(), partial.len);
        while partial.len < self.entry.num_bytes() {
            let received = self.receive(partial, meter);
            if partial.len > furthest {
                (tries, furthest) = (Tries::default(), partial.len);
            }
            if let Err(failure) = received {
                tries.again(failure)?;
            }
        }
        Ok(())
    }

    /// Asks once for what is missing.
    fn receive(&self, partial: &mut Partial, meter: &mut Meter) -> Result<(), Failure> {
        let response = self.client.file(self.commit, self.name, partial.len)?;
        if response.status() != StatusCode::PARTIAL_CONTENT && partial.len > 0 {
            // A server without ranges begins again.
            meter.position -= partial.len;
            partial.clear().map_err(|cause| self.disk(partial, cause))?;
        }
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(Failure::Passing(format!("{}: the server does not have the rest of it", self.name), None));
        }
        self.check_size(&response, partial.len).map_err(Failure::Lasting)?;
        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if signals::is_interrupted() {
                let message = "interrupted; run the same command again to go on with the download";
                return Err(Failure::Lasting(Coded::error(Exit::Interrupted, message)));
            }
            let num_bytes = body.read(&mut chunk).map_err(|cause| self.client.failure(&cause.into()))?;
            let missing = self.entry.num_bytes() - partial.len;
            match num_bytes as u64 {
                0 if missing > 0 => {
                    return Err(Failure::Passing(format!("{}: the connection ended early", self.name), None));
                }
                0 => return Ok(()),
                more if more > missing => return Err(Failure::Lasting(self.too_long())),
                _ => partial.push(&chunk[..num_bytes]).map_err(|cause| self.disk(partial, cause))?,
            }
            meter.receive(num_bytes as u64);
        }
    }

    /// Compares the size that was listed with the one that the answer announces.
    fn check_size(&self, response: &Response<Body>, begun: u64) -> anyhow::Result<()> {
        let expected = self.entry.num_bytes();
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = text(header::CONTENT_RANGE).unwrap_or_default();
            if range != format!("bytes {begun}-{}/{expected}", expected - 1) {
                return Err(self.wrong(format!("is sent as `{range}` of {expected} bytes, from byte {begun} on")));
            }
        }
        match response.body().content_length() {
            Some(announced) if announced != expected - begun => {
                Err(self.wrong(format!("has {} bytes, not the {expected} that are listed", begun + announced)))
            }
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> anyhow::Error {
        self.wrong(format!("has more than the {} bytes that are listed", self.entry.num_bytes()))
    }

    fn wrong(&self, what: String) -> anyhow::Error {
        let message = format!(
            "{} of the {}, which {what}: the server sends another file than it lists",
            self.name, self.client.repo
        );
        Coded::error(Exit::Data, message)
    }

    fn disk(&self, partial: &Partial, cause: std::io::Error) -> Failure {
        Failure::Lasting(anyhow::Error::new(cause).context(partial.place()))
    }
}

/// The beginning of a file, with its hash so far.
struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    size: u64,
    is_sha256: bool,
    hasher: Box<dyn DynDigest>,
}

impl Partial {
    /// Opens what an earlier run left, or an empty file.
    fn open(path: PathBuf, entry: &Entry) -> anyhow::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let (size, is_sha256) = (entry.num_bytes(), entry.hash().len() == 64);
        let mut partial = Self { hasher: hasher(is_sha256, size), path, file, len: 0, size, is_sha256 };
        partial.read().map_err(|cause| unreadable(&partial.path, cause))?;
        Ok(partial)
    }

    fn read(&mut self) -> std::io::Result<()> {
        if self.file.metadata()?.len() > self.size {
            return self.clear();
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let num_bytes = self.file.read(&mut chunk)?;
            if num_bytes == 0 {
                return Ok(());
            }
            self.hasher.update(&chunk[..num_bytes]);
            self.len += num_bytes as u64;
        }
    }

    fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.len = 0;
        self.hasher = hasher(self.is_sha256, self.size);
        Ok(())
    }

    /// Of what is there, in lower-case digits.
    fn hash(&self) -> String {
        self.hasher.box_clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn place(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}

/// SHA-256, or git's hash of a file, which begins with its size.
fn hasher(is_sha256: bool, size: u64) -> Box<dyn DynDigest> {
    match is_sha256 {
        true => Box::new(Sha256::new()),
        false => Box::new(Sha1::new_with_prefix(format!("blob {size}\0"))),
    }
}
