//! Learning-rate schedules, as functions of the number of completed optimizer steps.

use serde::{Deserialize, Serialize};

/// The shape of a schedule after its linear warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// The peak, for ever.
    Constant,
    /// Linearly to the final rate at the last step.
    #[default]
    Linear,
    /// Half a cosine to the final rate.
    Cosine,
    /// Stable, then linearly down during the last `decay_steps` (warm-up, stable, decay).
    WarmupStableDecay,
    /// Stable, then `1 - sqrt(x)` during the last `decay_steps` (Hägele et al., arXiv 2405.18392).
    OneMinusSqrt,
}

/// A learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Its shape.
    pub kind: ScheduleKind,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// Steps of the final decay; only for the two stable kinds.
    pub decay_steps: u64,
    /// The rate at the end, as a share of the peak.
    pub final_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: ScheduleKind::Linear, warmup_steps: 0, decay_steps: 0, final_ratio: 0.0 }
    }
}

impl Schedule {
    /// The share of the peak rate for the step after `completed` steps of `max_steps`: 0 for the first step of a warm-up,
    /// as Hugging Face's schedulers count.
    pub fn factor(&self, completed: u64, max_steps: u64) -> f64 {
        if completed < self.warmup_steps {
            return completed as f64 / self.warmup_steps as f64;
        }
        let start = match self.kind {
            ScheduleKind::Constant => return 1.0,
            ScheduleKind::Linear | ScheduleKind::Cosine => self.warmup_steps,
            ScheduleKind::WarmupStableDecay | ScheduleKind::OneMinusSqrt => {
                max_steps.saturating_sub(self.decay_steps).max(self.warmup_steps)
            }
        };
        let length = max_steps.saturating_sub(start).max(1);
        let progress = (completed.saturating_sub(start) as f64 / length as f64).min(1.0);
        let shape = match self.kind {
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            ScheduleKind::OneMinusSqrt => 1.0 - progress.sqrt(),
            _ => 1.0 - progress,
        };
        self.final_ratio + (1.0 - self.final_ratio) * shape
    }
}
