//! The metrics of a run on disk: `metrics.jsonl`, which is the truth, and TensorBoard's event files beside it.
//!
//! A checkpoint stores the log's length. A run that resumes from it cuts the log back to that length, so the log never
//! holds a step twice; TensorBoard is told to forget the same steps by the start mark of a new event file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anaume_core::report::{Record, RewindRecord, StepRecord, ValidationRecord};
use anyhow::{Context, Result};
use prost::Message;

use crate::exit::{Coded, Exit, WithExit};
use crate::files::make_dir;

/// `metrics.jsonl` of a run, open for appending.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    offset: u64,
}

impl MetricsLog {
    /// Starts the log of a new run.
    ///
    /// # Errors
    /// The file exists (a run folder is in use) or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.with_context(|| format!("cannot start the log {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, offset: 0 })
    }

    /// Opens the log of a run that resumes from a checkpoint at `to_step`, made when the log was `offset` bytes long:
    /// removes what came after and records the rewind.
    ///
    /// # Errors
    /// The log is shorter than `offset` or has no line end there, so it is not the log of that checkpoint ([`Exit::Data`]).
    pub fn open_at(path: &Path, offset: u64, to_step: u64) -> Result<Self> {
        let (file, bytes) = Self::check_at(path, offset, to_step)?;
        file.set_len(offset).with_context(|| format!("cannot resume the log {}", path.display()))?;
        let mut log = Self { path: path.to_owned(), file, offset };
        log.append(&Record::Rewind(RewindRecord { to_step, discarded_bytes: bytes - offset }))?;
        Ok(log)
    }

    /// The log's file and length, if [`Self::open_at`] can open it; nothing is changed.
    ///
    /// # Errors
    /// As of [`Self::open_at`].
    pub fn check_at(path: &Path, offset: u64, to_step: u64) -> Result<(File, u64)> {
        let name = || format!("cannot resume the log {}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).open(path).with_context(name)?;
        let bytes = file.metadata().with_context(name)?.len();
        if !has_line_end_at(&mut file, offset, bytes).with_context(name)? {
            let message = format!(
                "{}: no record ends at byte {offset} (the file has {bytes}), where the checkpoint of step {to_step} says \
                 that one does; it is not this checkpoint's log, move it away or resume another checkpoint",
                path.display()
            );
            return Err(Coded::error(Exit::Data, message));
        }
        Ok((file, bytes))
    }

    /// Adds one record as one line. A line that the disk has no room for is taken back whole.
    ///
    /// # Errors
    /// Whatever the disk says, with the path.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let line = record.to_line();
        if let Err(cause) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.offset);
            return Err(cause).with_context(|| format!("cannot write to {}", self.path.display()));
        }
        self.offset += line.len() as u64;
        Ok(())
    }

    /// Makes the log durable and returns its length in bytes, for the checkpoint.
    ///
    /// # Errors
    /// Whatever the disk says, with the path.
    pub fn sync(&self) -> Result<u64> {
        self.file.sync_data().with_context(|| format!("cannot write {} to disk", self.path.display()))?;
        Ok(self.offset)
    }
}

fn has_line_end_at(file: &mut File, offset: u64, bytes: u64) -> io::Result<bool> {
    if offset == 0 || offset > bytes {
        return Ok(offset == 0);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(offset - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Reads a whole `metrics.jsonl`. A last line without its newline that is no record was cut off by a crash: it is left
/// out with a warning.
///
/// # Errors
/// Any other line that is no record, by file and line ([`Exit::Data`]).
pub fn read_metrics(path: &Path) -> Result<Vec<Record>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = vec![];
    for (i, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match read_line(line) {
            Ok(record) => records.push(record),
            Err(_) if !line.ends_with(b"\n") => {
                eprintln!("warning: {}:{}: the last line is incomplete and left out", path.display(), i + 1);
            }
            Err(cause) => return Err(cause).exit(Exit::Data, format!("{}:{}", path.display(), i + 1)),
        }
    }
    Ok(records)
}

fn read_line(line: &[u8]) -> Result<Record> {
    Ok(Record::from_line(std::str::from_utf8(line).context("not UTF-8")?)?)
}

/// A TensorBoard event file. Each process of a run writes one of its own, into the same folder.
pub struct TensorBoardLog {
    path: PathBuf,
    file: File,
}

impl TensorBoardLog {
    /// Starts an event file in `dir`, which is made where it is missing. TensorBoard forgets what earlier files of the
    /// folder say about `first_step` and later steps.
    ///
    /// # Errors
    /// Whatever the disk says, with the path.
    pub fn create(dir: &Path, first_step: u64) -> Result<Self> {
        make_dir(dir)?;
        let (path, file) =
            new_event_file(dir).with_context(|| format!("cannot start an event file in {}", dir.display()))?;
        let mut log = Self { path, file };
        log.write(0, What::FileVersion("brain.Event:2".into()))?;
        log.write(first_step, What::SessionLog(SessionLog { status: SESSION_START }))?;
        Ok(log)
    }

    /// Adds the scalars of a step or of a validation; other records have none.
    ///
    /// # Errors
    /// Whatever the disk says, with the path.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let (step, scalars) = match record {
            Record::Step(step) => (step.step, step_scalars(step)),
            Record::Validation(validation) => (validation.step, validation_scalars(validation)),
            Record::Start(_) | Record::Rewind(_) => return Ok(()),
        };
        let value = |(tag, value): (&str, f64)| Value { tag: tag.into(), simple_value: Some(value as f32) };
        self.write(step, What::Summary(Summary { value: scalars.into_iter().map(value).collect() }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let wall_time = since_epoch().as_secs_f64();
        let event = Event { wall_time, step: step as i64, what: Some(what) };
        let written = self.file.write_all(&tf_record(&event.encode_to_vec()));
        written.with_context(|| format!("cannot write to {}", self.path.display()))
    }
}

fn step_scalars(step: &StepRecord) -> Vec<(&'static str, f64)> {
    let mut scalars = vec![
        ("train/loss", step.loss),
        ("train/accuracy", step.accuracy),
        ("train/lr", step.learning_rate),
        ("train/grad_norm", step.grad_norm),
        ("train/epoch", step.epoch as f64),
        ("speed/tokens_per_second", step.tokens_per_second),
        ("speed/non_padding_tokens_per_second", step.non_padding_tokens_per_second),
        ("speed/data_wait_secs", step.data_wait_secs),
        ("speed/step_secs", step.step_secs),
    ];
    let optional = [
        ("speed/mfu", step.mfu),
        ("memory/peak_bytes", step.peak_memory_bytes.map(|bytes| bytes as f64)),
        ("train/loss_scale", step.loss_scale),
    ];
    scalars.extend(optional.into_iter().filter_map(|(tag, value)| Some((tag, value?))));
    scalars
}

fn validation_scalars(validation: &ValidationRecord) -> Vec<(&'static str, f64)> {
    vec![("validation/loss", validation.loss), ("validation/accuracy", validation.accuracy)]
}

/// `events.out.tfevents.<secs>.<host>.anaume`. TensorBoard reads a folder's files in the order of their names, so a
/// second session within the same second takes the next one.
fn new_event_file(dir: &Path) -> io::Result<(PathBuf, File)> {
    let host = host_name();
    let mut secs = since_epoch().as_secs();
    loop {
        let path = dir.join(format!("events.out.tfevents.{secs:010}.{host}.anaume"));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => secs += 1,
            Err(cause) => return Err(cause),
        }
    }
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The machine's name with nothing in it that a file name or TensorBoard's pattern could trip over.
fn host_name() -> String {
    let name = ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = name.or_else(|| fs::read_to_string("/etc/hostname").ok()).unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// A TFRecord: length, its checksum, data, its checksum; little-endian.
fn tf_record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()].concat()
}

/// CRC-32C, rotated and shifted so that a checksum of data that holds checksums stays meaningful (TensorFlow's rule).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

// The part of TensorFlow's event.proto and summary.proto that scalars need.

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// `SessionStatus`.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionStatus.START`.
const SESSION_START: i32 = 1;

#[cfg(test)]
mod tests {
    use anaume_core::report::{FORMAT_VERSION, StartRecord};

    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: 0,
            loss: 10.0 / step as f64,
            accuracy: 0.25,
            learning_rate: 5e-4,
            grad_norm: 1.5,
            tokens: 4_096,
            non_padding_tokens: 4_000,
            tokens_per_second: 8_192.0,
            non_padding_tokens_per_second: 8_000.0,
            data_wait_secs: 0.01,
            step_secs: 0.5,
            mfu: Some(0.4),
            peak_memory_bytes: None,
            loss_scale: None,
            reduction_wait_secs: None,
            skipped: false,
        })
    }

    fn start() -> Record {
        Record::Start(StartRecord {
            format_version: FORMAT_VERSION,
            step: 0,
            started_at: "2026-01-01T00:00:00Z".into(),
            command_line: Vec::new(),
        })
    }

    #[test]
    fn what_was_logged_after_the_checkpoint_is_gone_after_a_resume() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).expect("a new log");
        [start(), step(1), step(2)].iter().for_each(|record| log.append(record).expect("written"));
        let offset = log.sync().expect("durable");
        log.append(&step(3)).expect("written");
        drop(log);
        let discarded_bytes = fs::metadata(&path).expect("there").len() - offset;

        let mut log = MetricsLog::open_at(&path, offset, 2).expect("resumed");
        log.append(&step(3)).expect("written");
        let rewind = Record::Rewind(RewindRecord { to_step: 2, discarded_bytes });
        assert_eq!(read_metrics(&path).expect("whole"), [start(), step(1), step(2), rewind, step(3)]);
        assert_eq!(log.sync().expect("durable"), fs::metadata(&path).expect("there").len());
    }

    #[test]
    fn a_log_of_another_checkpoint_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).expect("a new log");
        log.append(&step(1)).expect("written");
        let end = log.sync().expect("durable");
        for offset in [end + 1, end - 1] {
            let error = MetricsLog::open_at(&path, offset, 1).err().expect("no record ends there");
            assert_eq!(crate::exit::code_of(&error), Exit::Data);
            assert!(error.to_string().contains(&format!("byte {offset}")), "{error}");
        }
        assert_eq!(read_metrics(&path).expect("whole"), [step(1)]);
        assert!(MetricsLog::create(&path).is_err(), "a log is never overwritten");
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_any_other_bad_line_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("metrics.jsonl");
        let whole = step(1).to_line();
        fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).expect("written");
        assert_eq!(read_metrics(&path).expect("tolerated"), [step(1)]);

        for bad in ["{\"event\":\"step\"}\n", "\n", "{\"event\":\"dance\"}\n"] {
            fs::write(&path, format!("{whole}{bad}{whole}")).expect("written");
            let error = read_metrics(&path).expect_err("line 2 is no record");
            assert_eq!(crate::exit::code_of(&error), Exit::Data);
            assert!(format!("{error:#}").contains("metrics.jsonl:2"), "{error:#}");
        }
        fs::write(&path, [whole.as_bytes(), b"\xFF\n"].concat()).expect("written");
        assert!(format!("{:#}", read_metrics(&path).expect_err("not UTF-8")).contains("not UTF-8"));
    }

    #[test]
    fn a_full_disk_leaves_no_half_line() {
        // Linux's device that is always full.
        let Ok(file) = OpenOptions::new().append(true).open("/dev/full") else { return };
        let mut log = MetricsLog { path: "/dev/full".into(), file, offset: 0 };
        let error = log.append(&step(1)).expect_err("full");
        assert_eq!(crate::exit::code_of(&error), Exit::Resource);
        assert_eq!(log.offset, 0);
    }

    #[test]
    fn checksums_are_tensorflows() {
        // RFC 3720 B.4: CRC-32C of 32 zero bytes is 8A9136AA.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
        // The first record of every event file that TensorFlow writes: a version of 24 bytes.
        assert_eq!(&tf_record(&[0; 24])[..12], [24, 0, 0, 0, 0, 0, 0, 0, 163, 127, 75, 34]);
    }

    /// The events of a file, each checked against both of its checksums.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).expect("readable");
        let mut rest = &bytes[..];
        let mut events = vec![];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().expect("8 bytes")) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(rest[8..12], masked_crc(&rest[..8]).to_le_bytes(), "checksum of the length");
            assert_eq!(rest[12 + length..16 + length], masked_crc(data).to_le_bytes(), "checksum of the data");
            events.push(Event::decode(data).expect("an event"));
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn an_event_file_holds_version_start_and_scalars() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = TensorBoardLog::create(dir.path(), 3).expect("a new file");
        [start(), step(4)].iter().for_each(|record| log.append(record).expect("written"));
        let events = events(&log.path);
        assert_eq!(events.len(), 3, "a start record has no scalars");
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".into())));
        assert_eq!((events[1].step, &events[1].what), (3, &Some(What::SessionLog(SessionLog { status: 1 }))));
        let Some(What::Summary(summary)) = &events[2].what else { panic!("no summary: {:?}", events[2]) };
        let loss = Value { tag: "train/loss".into(), simple_value: Some(2.5) };
        assert!(events[2].step == 4 && summary.value.contains(&loss), "{summary:?}");
    }

    #[test]
    fn tensorboard_sees_no_step_twice_after_a_resume() {
        let dir = tempfile::tempdir().expect("a folder");
        for steps in [1..4, 3..6] {
            let mut log = TensorBoardLog::create(dir.path(), steps.start).expect("a new file");
            steps.for_each(|number| log.append(&step(number)).expect("written"));
        }
        let mut files: Vec<_> = fs::read_dir(dir.path()).expect("readable").map(|file| file.unwrap().path()).collect();
        files.sort();
        // TensorBoard's rule: a session that starts at a step takes it and later ones out of what came before.
        let mut seen: Vec<i64> = Vec::new();
        for event in files.iter().flat_map(|path| events(path)) {
            match event.what {
                Some(What::SessionLog(_)) => seen.retain(|step| *step < event.step),
                Some(What::Summary(_)) => seen.push(event.step),
                _ => {}
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn sessions_of_the_same_second_have_files_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths: Vec<_> = (0..3).map(|_| TensorBoardLog::create(dir.path(), 1).expect("a new file").path).collect();
        assert!(paths.is_sorted() && paths[0] != paths[1] && paths[1] != paths[2], "{paths:?}");
    }
}
