//! What the results page has read: reports, training curves, and where the examples of reports are to be found.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anaume_core::leaderboard::Run;
use anaume_core::leaderboard::compare::Samples;
use anaume_core::leaderboard::examples::asked;
use anaume_core::plot;
use anaume_core::report::Record;
use anaume_core::report::eval::{EvalReport, Sample};
use anaume_core::report::site::SiteFile;
use leptos::prelude::*;
use web_sys::{File, ReadableStream};

use crate::fetch;
use crate::protocol::{Failure, Result};
use crate::stream;

/// Files that are read at once; examples beside a report are read when they are asked for.
const READ_AT_ONCE: [&str; 3] = ["results.json", "report.json", "metrics.jsonl"];
const SAMPLES: &str = "samples.jsonl";

/// Where a file can be read.
#[derive(Clone)]
pub enum Source {
    /// Beside the page, under an encoded address.
    Site(String),
    /// On the reader's machine.
    Local(File),
}

impl Source {
    async fn open(&self) -> Result<ReadableStream> {
        match self {
            Self::Site(url) => fetch::stream(url).await,
            Self::Local(file) => Ok(file.stream()),
        }
    }

    /// All of a text.
    async fn text(&self) -> Result<String> {
        match self {
            Self::Site(url) => fetch::text(url).await,
            Self::Local(file) => fetch::text_of(file).await,
        }
    }
}

/// Everything that was read. Each part is shown on its own, so that a run that is followed draws its curves alone.
#[derive(Clone, Copy)]
pub struct Shelf {
    /// Reports.
    pub reports: RwSignal<Rc<Vec<Run>>, LocalStorage>,
    /// The curves of each run by its place.
    pub runs: RwSignal<BTreeMap<String, plot::Run>, LocalStorage>,
    /// What could not be read, by place.
    pub failures: RwSignal<BTreeMap<String, Failure>, LocalStorage>,
    /// How many files of how many were read.
    pub progress: RwSignal<(usize, usize)>,
    /// Files of examples by the place of their report.
    sources: StoredValue<BTreeMap<String, Source>, LocalStorage>,
    /// Examples that were read.
    samples: StoredValue<Rc<RefCell<Samples>>, LocalStorage>,
}

impl Shelf {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            reports: RwSignal::new_local(Rc::default()),
            runs: RwSignal::new_local(BTreeMap::new()),
            failures: RwSignal::new_local(BTreeMap::new()),
            progress: RwSignal::new((0, 0)),
            sources: StoredValue::new_local(BTreeMap::new()),
            samples: StoredValue::new_local(Rc::default()),
        }
    }

    /// Whether nothing was read.
    pub fn is_empty(self) -> bool {
        self.reports.with(|reports| reports.is_empty()) && self.runs.with(BTreeMap::is_empty)
    }

    /// Reads files of the site.
    pub async fn read_site(self, files: &[SiteFile]) {
        let source = |file: &SiteFile| (decoded(&file.url), Source::Site(file.url.clone()));
        self.read(files.iter().map(source).collect(), |_, source| match source {
            Source::Site(url) => Some(Source::Site(beside(url))),
            Source::Local(_) => None,
        })
        .await;
    }

    /// Reads files that the reader chose, by their paths in the folder that was chosen, or by their names.
    pub async fn read_local(self, files: Vec<(String, File)>) {
        let of_examples = files.iter().filter(|(place, _)| name_of(place) == SAMPLES);
        let examples: BTreeMap<String, File> = of_examples.cloned().collect();
        let is_one = files.len() == 1;
        let is_known = |place: &str| READ_AT_ONCE.contains(&name_of(place));
        let chosen = files.into_iter().filter(|(place, _)| is_one || is_known(place));
        let chosen = chosen.map(|(place, file)| (place, Source::Local(file))).collect();
        self.read(chosen, |place, _| examples.get(&beside(place)).cloned().map(Source::Local)).await;
    }

    /// Reads files; `examples` says where those beside a report are.
    async fn read(self, files: Vec<(String, Source)>, examples: impl Fn(&str, &Source) -> Option<Source>) {
        let total = files.len();
        let mut reports = Vec::new();
        for ((place, source), number) in files.into_iter().zip(1..) {
            let read = match name_of(&place) {
                "metrics.jsonl" => self.read_run(&place, &source).await,
                name if name.ends_with(".json") && name != "plan.json" && name != "run.json" => {
                    read_report(&place, &source).await.map(|report| reports.push(report))
                }
                _ => Err(Failure::new("this is neither a result nor the log of a run")),
            };
            let beside = examples(&place, &source).map(|found| (place.clone(), found));
            self.sources.update_value(|sources| sources.extend(beside));
            let changed = self.failures.with_untracked(|failures| read.is_err() || failures.contains_key(&place));
            if changed {
                self.failures.update(|failures| match read {
                    Ok(()) => _ = failures.remove(&place),
                    Err(failure) => _ = failures.insert(place, failure),
                });
            }
            self.progress.set((number, total));
            stream::pause().await;
        }
        if !reports.is_empty() {
            self.reports.update(|known| {
                let is_new = |run: &&Run| reports.iter().all(|report| report.place != run.place);
                *known = Rc::new(known.iter().filter(is_new).cloned().chain(reports.iter().cloned()).collect());
            });
        }
    }

    async fn read_run(self, place: &str, source: &Source) -> Result<()> {
        let mut run = plot::Run { name: run_name(place), ..plot::Run::default() };
        // A last line without its end is still being written.
        let add = |line: &str| Ok(run.add(&Record::from_line(line).map_err(Failure::new)?));
        stream::lines(&source.open().await?, add).await?;
        if self.runs.with_untracked(|runs| runs.get(place) != Some(&run)) {
            self.runs.update(|runs| _ = runs.insert(place.into(), run));
        }
        Ok(())
    }

    /// All examples that are known, those beside some reports among them.
    ///
    /// # Errors
    /// A report without examples beside it.
    pub async fn samples(self, places: &[String]) -> Result<Rc<RefCell<Samples>>> {
        let samples = self.samples.get_value();
        for place in places {
            if samples.borrow().contains_key(place) {
                continue;
            }
            let source = self.sources.with_value(|sources| sources.get(place).cloned());
            let source = source.ok_or_else(|| Failure::new(format!("{place}: no {SAMPLES} beside it")))?;
            let mut found: Vec<Sample> = Vec::new();
            let mut add = |line: &str| Ok(found.push(serde_json::from_str(line).map_err(Failure::new)?));
            let last = stream::lines(&source.open().await?, &mut add).await?;
            if !last.trim().is_empty() {
                add(&last)?;
            }
            samples.borrow_mut().insert(place.clone(), found);
        }
        Ok(samples)
    }
}

impl Shelf {
    /// How an example of a model's result begins, or what it is called; `None` where there are no examples beside it.
    pub async fn example(self, task: &str, model: &str, index: usize) -> Result<Option<String>> {
        let is_it = |run: &&Run| run.report.model.name == model && run.report.results.contains_key(task);
        let place = self.reports.with_untracked(|reports| reports.iter().find(is_it).map(|run| run.place.clone()));
        let Some(place) = place else { return Ok(None) };
        let samples = self.samples(std::slice::from_ref(&place)).await?;
        let samples = samples.borrow();
        let sample = samples.get(&place).and_then(|samples| samples.get(index));
        let text = sample.map(|sample| (asked(sample), sample.doc_id.to_string()));
        Ok(text.map(|(text, name)| if text.is_empty() { name } else { text }))
    }
}

async fn read_report(place: &str, source: &Source) -> Result<Run> {
    let report = EvalReport::from_json(&source.text().await?).map_err(Failure::new)?;
    Ok(Run { place: place.into(), report })
}

fn name_of(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or(place)
}

/// The place or address of the examples beside a report.
fn beside(place: &str) -> String {
    format!("{}{SAMPLES}", &place[..place.len() - name_of(place).len()])
}

/// The folder of a run: what tells it apart.
fn run_name(place: &str) -> String {
    place.rsplit('/').nth(1).unwrap_or("run").to_owned()
}

fn decoded(url: &str) -> String {
    js_sys::decode_uri_component(url).map_or_else(|_| url.to_owned(), String::from)
}
