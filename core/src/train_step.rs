//! One optimizer step: micro-batches in, parameters changed or a refusal out.

use anaume_shaders::clip::Clip;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::layers::{ParameterVisitor, Parameters, Precision};
use crate::loss;
use crate::modernbert::MaskedLm;
use crate::optim::{AdamW, GradientSums};
use crate::weights::read_back;

/// What a step did, in numbers of the whole batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss of the masked tokens.
    pub loss: f64,
    /// Share of the masked tokens predicted first.
    pub accuracy: f64,
    /// Global norm of the gradient before the clip.
    pub grad_norm: f64,
    /// Whether the parameters changed. If not, the loss or the norm is not finite and nothing was touched.
    pub applied: bool,
}

/// Dynamic loss scaling (Micikevicius et al., arXiv 1710.03740): the largest power of two that does not overflow f16.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The factor of the loss.
    pub factor: f64,
    /// Steps since the factor last changed.
    pub good_steps: u32,
}

impl LossScale {
    /// Steps without overflow after which the factor doubles.
    const GROWTH_INTERVAL: u32 = 1000;

    fn update(&mut self, finite: bool) {
        self.good_steps = if finite { self.good_steps + 1 } else { 0 };
        if !finite {
            self.factor = (self.factor / 2.0).max(1.0);
        } else if self.good_steps == Self::GROWTH_INTERVAL {
            *self = Self { factor: (self.factor * 2.0).min(2.0_f64.powi(24)), good_steps: 0 };
        }
    }
}

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: 65_536.0, good_steps: 0 }
    }
}

/// A model in training.
pub struct Trainer<M = MaskedLm> {
    /// The model, on a device with autodiff.
    pub model: M,
    /// The optimizer.
    pub optimizer: AdamW,
    /// Scale of the loss; `None` in f32.
    pub loss_scale: Option<LossScale>,
    gradients: GradientSums,
    /// Losses and right answers since the last step, `[2]`.
    sums: Option<Tensor<1>>,
}

impl Trainer {
    /// Puts a masked language model into pretraining.
    pub fn new(mut model: MaskedLm, optimizer: AdamW, precision: Precision) -> Result<Self> {
        model.encoder.precision = precision;
        let loss_scale = (precision == Precision::F16).then(LossScale::default);
        Ok(Self { loss_scale, ..Self::tracking(model, optimizer)? })
    }

    /// Adds the gradients of one micro-batch of a batch with `num_masked` masked tokens in all. Enqueues work only.
    pub fn accumulate(&mut self, batch: &Batch, num_masked: usize) -> Result<()> {
        match loss::masked_lm(&self.model, batch)? {
            Some(sums_2) => self.accumulate_sums(sums_2, num_masked),
            None => Ok(()),
        }
    }
}

impl<M: Parameters + Clone> Trainer<M> {
    /// Puts any model into training, in f32.
    pub fn tracking(mut model: M, optimizer: AdamW) -> Result<Self> {
        struct Track;
        impl ParameterVisitor for Track {
            fn visit<const D: usize>(&mut self, _: &str, parameter: &mut Tensor<D>) -> Result<()> {
                // A leaf of the graph, whatever the tensor was before.
                parameter.inplace(|tensor| Tensor::from_inner(tensor.without_autodiff()).require_grad());
                Ok(())
            }
        }
        model.visit(&mut Track)?;
        Ok(Self { model, optimizer, loss_scale: None, gradients: GradientSums::default(), sums: None })
    }

    /// The model as it stands, without gradients: it shares the parameters' memory.
    pub fn frozen_model(&self) -> Result<M> {
        struct Freeze;
        impl ParameterVisitor for Freeze {
            fn visit<const D: usize>(&mut self, _: &str, parameter: &mut Tensor<D>) -> Result<()> {
                parameter.inplace(Tensor::without_autodiff);
                Ok(())
            }
        }
        let mut model = self.model.clone();
        model.visit(&mut Freeze)?;
        Ok(model)
    }

    fn scale(&self) -> f64 {
        self.loss_scale.map_or(1.0, |scale| scale.factor)
    }

    /// Adds the gradients of sums `[2]` (losses, right answers) over a part of a batch of `count` examples in all. Enqueues
    /// work only.
    pub fn accumulate_sums(&mut self, sums_2: Tensor<1>, count: usize) -> Result<()> {
        let sums = sums_2.clone().inner();
        self.sums = Some(match self.sums.take() {
            Some(before) => before + sums,
            None => sums,
        });
        let loss = sums_2.narrow(0, 0, 1) * (self.scale() / count as f64);
        let mut gradients = loss.backward();
        self.gradients.add(&mut self.model, &mut gradients)
    }

    /// Forgets the micro-batches since the last step.
    pub fn discard(&mut self) {
        self.gradients = GradientSums::default();
        self.sums = None;
    }

    /// Clips, refuses or takes the step: enqueues all of it, then waits for the device, the one time in a step.
    pub async fn finish(&mut self, num_masked: usize, learning_rate: f64) -> Result<StepOutcome> {
        let Some(sums_2) = self.sums.take() else {
            return Err(Error::Input {
                message: "a batch has no masked token; raise the batch size or the mask rate".into(),
            });
        };
        let gradients = std::mem::take(&mut self.gradients);
        let clip = Clip { loss_scale: self.scale() as f32, max_grad_norm: self.optimizer.config.max_grad_norm as f32 };
        let numbers = gradients.clip(sums_2, clip);
        // The device itself refuses a step that is not finite, so that nothing waits for the norm.
        self.optimizer.step(&mut self.model, gradients, learning_rate, numbers.clone())?;
        let numbers = read_back(numbers).await?;
        let [loss, accuracy] = [0, 1].map(|index| f64::from(numbers[index]) / num_masked as f64);
        let (grad_norm, applied) = (f64::from(numbers[2]), numbers[3] != 0.0);
        self.optimizer.num_steps += u64::from(applied);
        if let Some(loss_scale) = &mut self.loss_scale {
            loss_scale.update(applied);
        }
        Ok(StepOutcome { loss, accuracy, grad_norm, applied })
    }
}

/// Sums over batches that are not trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    loss_sum: f64,
    num_correct: f64,
    /// Masked tokens so far.
    pub num_masked: usize,
}

impl Evaluation {
    /// Adds a batch.
    pub async fn add(&mut self, model: &MaskedLm, batch: &Batch) -> Result<()> {
        let Some(sums_2) = loss::masked_lm(model, batch)? else { return Ok(()) };
        let sums = read_back(sums_2).await?;
        self.loss_sum += f64::from(sums[0]);
        self.num_correct += f64::from(sums[1]);
        self.num_masked += batch.masked.len();
        Ok(())
    }

    /// Mean loss of the masked tokens; NaN of none.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.num_masked as f64
    }

    /// Share of the masked tokens predicted first; NaN of none.
    pub fn accuracy(&self) -> f64 {
        self.num_correct / self.num_masked as f64
    }
}
