//! What a pretraining run is asked to do: a recipe, built in or a TOML file that may come from anyone.

use anaume_core::batch::Layout;
use anaume_core::config::{AdamWConfig, Precision};
use anaume_core::schedule::Schedule;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::exit::{Coded, Exit, WithExit};

/// A recipe: everything that decides a run's numbers except the data, the model and the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Steps, batch, precision.
    pub train: TrainRecipe,
    /// AdamW.
    pub optim: AdamWConfig,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// Sequences and masks.
    pub data: DataRecipe,
    /// Checkpoints.
    pub checkpoint: CheckpointRecipe,
    /// Validation.
    pub validation: ValidationRecipe,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainRecipe {
    /// Optimizer steps of the whole run.
    pub max_steps: u64,
    /// Rows of a step's batch.
    pub batch_rows: usize,
    /// Rows computed at once; the gradients of a batch's parts are summed, weighted by their masked tokens.
    pub micro_batch_rows: usize,
    /// Seed of the data order and of the masks.
    pub seed: u64,
    /// `f32`, or `f16` for the large matrix products where the device has it.
    pub precision: Precision,
    /// Keep only what each layer takes and compute the layer again for its gradients: less memory, a third more computing.
    pub recompute: bool,
    /// What a loss or gradient that is not finite does: `stop` the run, or `skip` the step.
    pub on_nonfinite: OnNonFinite,
    /// How gradients are summed over ranks: `fast`, `fast-f16`, or `exact` for the same bits whatever the number of ranks.
    pub reduction: Reduction,
    /// Give each rank the optimizer's state of a part of every parameter alone (ZeRO stage 1): less memory, more messages.
    pub shard_optimizer: bool,
}

/// Names of the policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnNonFinite {
    /// End with exit code 4 before the parameters change.
    #[default]
    Stop,
    /// Leave the parameters as they are, log it, go on.
    Skip,
}

/// How gradients are summed over ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// In f32, in any order: 4 bytes a parameter and step.
    #[default]
    Fast,
    /// In f16 between ranks and f32 within: 2 bytes a parameter and step; for a node, or a few over a slow network.
    FastF16,
    /// In integers: any number of ranks gives the same bits. 8 bytes a parameter and step.
    Exact,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            max_steps: 1000,
            batch_rows: 32,
            micro_batch_rows: 8,
            seed: 42,
            precision: Precision::F32,
            recompute: false,
            on_nonfinite: OnNonFinite::Stop,
            reduction: Reduction::Fast,
            shard_optimizer: false,
        }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Longest sequence and length of a row, in tokens.
    pub max_length: usize,
    /// `packed`: all text, several sequences a row; `one-per-row`: a document a row, cut and padded as the original does.
    pub layout: Layout,
    /// Share of the tokens that are predicted.
    pub mask_probability: f64,
    /// Share of the predicted tokens shown as the mask.
    pub mask_share: f64,
    /// Share of the predicted tokens shown as a random token.
    pub random_share: f64,
    /// Threads that prepare batches.
    pub num_threads: usize,
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            max_length: 1024,
            layout: Layout::Packed,
            mask_probability: 0.3,
            mask_share: 0.8,
            random_share: 0.1,
            num_threads: 1,
        }
    }
}

/// `[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointRecipe {
    /// Steps between checkpoints; one is always written at the end.
    pub every_steps: u64,
    /// Checkpoints kept; older ones are removed once a newer one is safe. 0 keeps all.
    pub keep: usize,
}

impl Default for CheckpointRecipe {
    fn default() -> Self {
        Self { every_steps: 1000, keep: 3 }
    }
}

/// `[validation]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationRecipe {
    /// Steps between validations; 0 turns them off. Needs a `test` split.
    pub every_steps: u64,
    /// Most rows of the fixed, masked validation set.
    pub max_rows: usize,
}

impl Default for ValidationRecipe {
    fn default() -> Self {
        Self { every_steps: 500, max_rows: 64 }
    }
}

/// Recipes that come with the program, by name.
const BUILT_IN: [(&str, &str); 5] = [
    ("quickstart", include_str!("../recipes/quickstart.toml")),
    ("tiny", include_str!("../recipes/tiny.toml")),
    ("train", include_str!("../recipes/train.toml")),
    ("stage1", include_str!("../recipes/stage1.toml")),
    ("stage2", include_str!("../recipes/stage2.toml")),
];

/// Most tokens of a step: some hundred times as many as the largest models take.
const MAX_STEP_TOKENS: usize = 1 << 31;

impl Recipe {
    /// Reads a built-in recipe by name or a TOML file, with `section.key=value` overrides.
    pub fn load(name_or_path: &str, overrides: &[String]) -> anyhow::Result<Self> {
        let built_in = BUILT_IN.iter().find(|(name, _)| *name == name_or_path).map(|(_, text)| (*text).to_owned());
        let text = match built_in {
            Some(text) => text,
            None => std::fs::read_to_string(name_or_path).exit(Exit::Usage, {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                format!("cannot read the recipe {name_or_path} (built in: {})", names.join(", "))
            })?,
        };
        Self::parse(name_or_path, &text, overrides)
    }

    /// Reads the text of a recipe that errors call `name`, with overrides.
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> anyhow::Result<Self> {
        let mut recipe: Self = toml::from_str(text).map_err(|cause| {
            let line = 1 + cause.span().map_or(0, |span| text[..span.start].matches('\n').count());
            Coded::error(Exit::Usage, format!("recipe {name}, line {line}: {}", explain(&cause)))
        })?;
        let mut table: Table = text.parse().exit(Exit::Usage, format!("recipe {name}"))?;
        for assignment in overrides {
            set(&mut table, assignment)?;
            recipe = table
                .clone()
                .try_into()
                .map_err(|cause| Coded::error(Exit::Usage, format!("--set {assignment}: {}", explain(&cause))))?;
        }
        recipe.check().map_err(|message| Coded::error(Exit::Usage, format!("recipe {name}: {message}")))?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        self.check_caps()?;
        let train = &self.train;
        if train.max_steps == 0 || train.batch_rows == 0 || train.micro_batch_rows == 0 {
            return Err("train.max_steps, train.batch_rows and train.micro_batch_rows must be at least 1".into());
        }
        if self.data.max_length < 3 {
            return Err("data.max_length must be at least 3".into());
        }
        let optim = self.optim;
        let unit = |value: f64| (0.0..1.0).contains(&value);
        if !(optim.lr > 0.0 && optim.lr.is_finite() && unit(optim.beta1) && unit(optim.beta2) && optim.epsilon > 0.0) {
            return Err("optim.lr and optim.epsilon must be positive, optim.beta1 and optim.beta2 in [0, 1)".into());
        }
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if !(positive(optim.max_grad_norm) && optim.weight_decay >= 0.0 && optim.weight_decay.is_finite()) {
            return Err("optim.max_grad_norm must be positive and optim.weight_decay not negative".into());
        }
        if !(0.0..=1.0).contains(&self.schedule.final_ratio) {
            return Err("schedule.final_ratio must be in [0, 1]".into());
        }
        if self.checkpoint.every_steps == 0 {
            return Err("checkpoint.every_steps must be at least 1".into());
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let data = &self.data;
        let shares = [data.mask_probability, data.mask_share, data.random_share, data.mask_share + data.random_share];
        if !shares.into_iter().all(share) {
            return Err(
                "data.mask_probability, data.mask_share, data.random_share and the sum of these two must be in [0, 1]"
                    .into(),
            );
        }
        Ok(())
    }

    /// Nobody trains with more than this: it is a slip or an attack, and the forecast's products would leave 64 bits.
    fn check_caps(&self) -> Result<(), String> {
        let (train, data) = (&self.train, &self.data);
        for (key, value, largest) in [
            ("train.max_steps", train.max_steps, 1 << 24),
            ("train.batch_rows", train.batch_rows as u64, 1 << 16),
            ("train.micro_batch_rows", train.micro_batch_rows as u64, 1 << 16),
            ("data.max_length", data.max_length as u64, 1 << 17),
            ("data.num_threads", data.num_threads as u64, 1 << 10),
            ("validation.max_rows", self.validation.max_rows as u64, 1 << 20),
        ] {
            if value > largest {
                return Err(format!("{key} must be at most {largest}"));
            }
        }
        match train.batch_rows * data.max_length {
            tokens if tokens > MAX_STEP_TOKENS => Err(format!("a step must have at most {MAX_STEP_TOKENS} tokens")),
            _ => Ok(()),
        }
    }
}

/// Puts `section.key=value` into a table; the value is TOML, or a bare word for a string.
fn set(table: &mut Table, assignment: &str) -> anyhow::Result<()> {
    let usage = || Coded::error(Exit::Usage, format!("--set {assignment}: expected section.key=value"));
    let (path, value) = assignment.split_once('=').ok_or_else(usage)?;
    let (section, key) = path.trim().split_once('.').ok_or_else(usage)?;
    let parsed = format!("value = {}", value.trim()).parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let section = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(usage)?.insert(key.to_owned(), value);
    Ok(())
}

/// What is wrong, with the nearest known key of all sections where a key is unknown.
fn explain(cause: &toml::de::Error) -> String {
    let message = cause.message().trim();
    let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) else {
        return message.to_owned();
    };
    let known = known_keys();
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let nearness = |path: &String| strsim::jaro_winkler(unknown, &key(path));
    let near = known.iter().max_by(|a, b| nearness(a).total_cmp(&nearness(b)));
    match near {
        Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`? ({message})"),
        None => message.to_owned(),
    }
}

/// Every section, and every key as `section.key`.
fn known_keys() -> Vec<String> {
    let Ok(sections) = Table::try_from(Recipe::default()) else { return Vec::new() };
    let keys = |(section, keys): (String, Value)| {
        let keys = keys.as_table().map(|keys| keys.keys().map(|key| format!("{section}.{key}")).collect::<Vec<_>>());
        [vec![section], keys.unwrap_or_default()].concat()
    };
    sections.into_iter().flat_map(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_every_machine_are_refused_by_name() {
        let refused = |text: &str, expected: &str| {
            let error = Recipe::parse("r.toml", text, &[]).unwrap_err().to_string();
            assert!(error.contains("recipe r.toml") && error.contains(expected), "{error}");
        };
        refused("[train]\nmax_steps = 9223372036854775807", "train.max_steps");
        refused("[train]\nmicro_batch_rows = 9223372036854775807", "train.micro_batch_rows");
        refused("[data]\nmax_length = 1000000000", "data.max_length");
        refused("[data]\nnum_threads = 1000000", "data.num_threads");
        refused("[train]\nbatch_rows = 65536\n[data]\nmax_length = 131072", "tokens");
        refused(&format!("a = {}", "[".repeat(100_000)), "line 1");
    }
}
