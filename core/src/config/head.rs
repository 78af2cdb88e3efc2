//! What stands on the encoder of a checkpoint, as Hugging Face's `config.json` names it.

use serde_json::{Map, Value, json};

use super::{check_sizes, invalid};
use crate::error::Result;

/// A head for fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// One of several classes a sequence.
    Classification {
        /// How many.
        num_labels: usize,
    },
    /// A number a sequence.
    Regression,
    /// The first and the last token of an answer.
    Span,
    /// A score a sequence; that with the largest is chosen among several.
    MultipleChoice,
}

impl HeadKind {
    /// The head of a fine-tuned checkpoint; `None` of a masked LM or a bare encoder.
    pub(crate) fn of(architectures: &[String], other: &Map<String, Value>) -> Option<Self> {
        let of_sequence = match num_labels(other) {
            1 => Self::Regression,
            num_labels => Self::Classification { num_labels },
        };
        let kinds = [of_sequence, Self::Span, Self::MultipleChoice];
        kinds.into_iter().find(|kind| architectures.iter().any(|name| name.ends_with(kind.class_suffix())))
    }

    /// Fails where a classifier has more classes than any task; nothing is allocated from more.
    pub(crate) fn check(other: &Map<String, Value>) -> Result<()> {
        check_sizes(&[("num_labels", num_labels(other), 1 << 16)])
    }

    /// End of the name of transformers' class.
    pub(crate) const fn class_suffix(self) -> &'static str {
        match self {
            Self::Classification { .. } | Self::Regression => "ForSequenceClassification",
            Self::Span => "ForQuestionAnswering",
            Self::MultipleChoice => "ForMultipleChoice",
        }
    }

    /// Values that the head gives for a sequence or, of a span, for a token.
    pub const fn num_outputs(self) -> usize {
        match self {
            Self::Classification { num_labels } => num_labels,
            Self::Regression | Self::MultipleChoice => 1,
            Self::Span => 2,
        }
    }

    /// Writes the classes into the fields of a `config.json` as transformers does. `labels` are the names of the classes in
    /// the order of their logits, of a classification alone.
    pub(crate) fn write(self, labels: &[String], fields: &mut Map<String, Value>) -> Result<()> {
        for field in ["num_labels", "id2label", "label2id", "problem_type"] {
            fields.remove(field);
        }
        let (problem_type, labels) = match self {
            Self::Classification { num_labels } if labels.len() == num_labels => {
                ("single_label_classification", labels.to_vec())
            }
            Self::Classification { num_labels } => {
                return Err(invalid("id2label", format!("{} names for {num_labels} classes", labels.len())));
            }
            Self::Regression => ("regression", vec!["LABEL_0".to_owned()]),
            Self::Span | Self::MultipleChoice => return Ok(()),
        };
        let ids = labels.iter().enumerate();
        let id2label: Map<_, _> = ids.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = ids.map(|(id, label)| (label.clone(), json!(id))).collect();
        if label2id.len() < labels.len() {
            return Err(invalid("id2label", format!("the names {labels:?} are not all different")));
        }
        fields.insert("id2label".into(), id2label.into());
        fields.insert("label2id".into(), label2id.into());
        fields.insert("problem_type".into(), problem_type.into());
        Ok(())
    }
}

/// Whether a checkpoint of these classes has a head over the vocabulary.
pub(crate) fn has_lm_head(architectures: &[String]) -> bool {
    let lm = |name: &String| name.ends_with("ForMaskedLM") || name.ends_with("ForPreTraining");
    architectures.is_empty() || architectures.iter().any(lm)
}

/// Number of classes, from `id2label` or `num_labels`; Hugging Face's default is 2.
fn num_labels(other: &Map<String, Value>) -> usize {
    let labels = other.get("id2label").and_then(Value::as_object).map(Map::len);
    labels.or_else(|| other.get("num_labels")?.as_u64().map(|n| n as usize)).unwrap_or(2)
}
