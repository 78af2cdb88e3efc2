//! JSON Schemas (draft 2020-12) of the JSON documents that the program writes, derived from the types that write them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::eval::{EvalReport, Plan, Sample};
use super::site::{SiteIndex, WebModel};
use super::{Record, RunManifest};
use crate::leaderboard::Leaderboard;

/// Names of the documents, each with what it is.
pub const DOCUMENTS: [(&str, &str); 8] = [
    ("leaderboard", "the table of anaume leaderboard --format json"),
    ("metrics", "one line of a run's metrics.jsonl"),
    ("plan", "plan.json of a results folder: which results it is to hold"),
    ("results", "results.json of an evaluation, and report.json of a model"),
    ("run", "run.json of a pretraining run"),
    ("sample", "one line of samples.jsonl beside results.json"),
    ("site", "site.json beside the page: models, results and runs"),
    ("web", "web.json of a model exported for the page"),
];

/// The schema of a document; `None` for a name that [`DOCUMENTS`] lacks.
pub fn schema(name: &str) -> Option<Value> {
    Some(match name {
        "leaderboard" => of::<Leaderboard>(),
        "metrics" => of::<Record>(),
        "plan" => of::<Plan>(),
        "results" => of::<EvalReport>(),
        "run" => of::<RunManifest>(),
        "sample" => of::<Sample>(),
        "site" => of::<SiteIndex>(),
        "web" => of::<WebModel>(),
        _ => return None,
    })
}

/// As written: fields that are always there are required.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}
