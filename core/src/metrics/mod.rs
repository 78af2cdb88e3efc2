//! Every metric of the evaluation suite, on plain slices: no tensor, no file, no randomness without a seed.
//!
//! The values are those of the field's own judges to 1e-9: scipy (correlations), scikit-learn (classification),
//! trec_eval (rankings), JGLUE's fine-tuning scripts (spans), numpy (quantiles, histograms). Where a judge answers NaN,
//! or 0 for want of anything better, the metric is [`Undefined`] here and says why.

pub mod classification;
pub mod comparison;
pub mod correlation;
pub mod projection;
pub mod ranking;
pub mod similarity;
pub mod span;
pub mod statistics;

/// A metric: a finite number, or the reason why there is none.
pub type Metric = Result<f64, Undefined>;

/// Why a metric has no value. The text is a sentence to show to users, beside the `null` in a report.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Undefined {
    /// Nothing was given.
    #[error("there are no examples, so there is nothing to measure")]
    Empty,
    /// Two columns that belong together differ in length.
    #[error("the two columns have {first} and {second} values, but must have one for each example")]
    LengthMismatch {
        /// Length of the first column, mostly the gold one.
        first: usize,
        /// Length of the second.
        second: usize,
    },
    /// A column holds the same value everywhere.
    #[error("the {what} are all equal, so a correlation is not defined")]
    Constant {
        /// The column, in the plural.
        what: &'static str,
    },
    /// A column holds a NaN or an infinity.
    #[error("value {index} (counted from 0) of the {what} is not a finite number")]
    NotFinite {
        /// The column, in the plural.
        what: &'static str,
        /// Place of the first such value.
        index: usize,
    },
    /// The result leaves the range of 64-bit floating-point numbers.
    #[error("the values are so large that the result cannot be represented")]
    Overflow,
    /// There are examples, but not enough.
    #[error("at least {needed} {what} are needed, but there are {given}")]
    TooFew {
        /// What there is too little of, in the plural.
        what: &'static str,
        /// The smallest number that is enough.
        needed: usize,
        /// The number given.
        given: usize,
    },
    /// A class that does not exist.
    #[error("label {label} is out of range: there are {num_labels} labels, counted from 0")]
    Label {
        /// The label found.
        label: usize,
        /// Number of labels.
        num_labels: usize,
    },
    /// A document occurs twice in a ranking, or twice in the judgements of a query.
    #[error("document {docno:?} occurs twice for one query")]
    Duplicate {
        /// The document.
        docno: String,
    },
    /// A query has no relevance judgements at all.
    #[error("the query has no relevance judgements")]
    Unjudged,
    /// A cut-off of 0.
    #[error("the cut-off k must be at least 1")]
    Cutoff,
    /// The values of a matrix do not fill its rows.
    #[error("{values} values do not make rows of width {width}")]
    Shape {
        /// Number of values.
        values: usize,
        /// Width of a row.
        width: usize,
    },
    /// A vector is all zeros and has no direction.
    #[error("a vector of zeros has no direction, so a cosine is not defined")]
    ZeroVector,
    /// A vector should have length 1.
    #[error("vector {row} (counted from 0) does not have length 1: normalise the embeddings first")]
    NotNormalised {
        /// Its row.
        row: usize,
    },
    /// Rows that should be drawn apart are one and the same.
    #[error("the vectors are all equal, so they have no principal components")]
    NoVariance,
    /// A histogram cannot be made of this range or this number of bins.
    #[error("a histogram needs at least one bin and a range that goes from one finite number up to a larger one")]
    Histogram,
    /// A number that should be a share is not.
    #[error("the {what} must lie between 0 and 1, but is {value}")]
    Share {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// A statistic is undefined on more than half of the bootstrap resamples.
    #[error("the statistic is undefined on {undefined} of {resamples} resamples, the first time because {reason}")]
    Resamples {
        /// Number of resamples without a value.
        undefined: usize,
        /// Number of all resamples.
        resamples: usize,
        /// Why the first of them has none.
        reason: Box<Undefined>,
    },
}

/// Fails unless two columns have one value for each of at least one example.
fn check_pairs(first: usize, second: usize) -> Result<(), Undefined> {
    if first != second {
        return Err(Undefined::LengthMismatch { first, second });
    }
    if first == 0 { Err(Undefined::Empty) } else { Ok(()) }
}

/// Fails at the first value that is NaN or infinite.
fn check_finite(what: &'static str, values: &[f64]) -> Result<(), Undefined> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Undefined::NotFinite { what, index }),
        None => Ok(()),
    }
}

fn check_count(what: &'static str, needed: usize, given: usize) -> Result<(), Undefined> {
    if given < needed { Err(Undefined::TooFew { what, needed, given }) } else { Ok(()) }
}

/// A result computed from finite numbers.
fn representable(value: f64) -> Metric {
    if value.is_finite() { Ok(value) } else { Err(Undefined::Overflow) }
}
