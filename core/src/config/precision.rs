use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the large matrix products take as inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f16, summed in f32; what lies between two products is f16 too.
    F16,
    /// bf16, summed in f32; for processors.
    BF16,
}

impl Precision {
    /// What belongs to the identity of numbers that were computed in it: nothing where it is f32, which results of versions
    /// without a choice do not name.
    pub fn identity(self) -> Option<Self> {
        (self != Self::F32).then_some(self)
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        serde_json::from_value(name.into()).map_err(|_| "expected f32, f16 or bf16".into())
    }
}
