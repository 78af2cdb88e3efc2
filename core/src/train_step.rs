//! One optimizer step: micro-batches in, parameters changed or a refusal out.

use anaume_shaders::clip::Clip;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::config::LOGITS_AT_ONCE;
use crate::error::{Error, Result};
use crate::layers::{ParameterVisitor, Parameters, Precision, rows};
use crate::loss;
use crate::modernbert::{MaskedLm, Pass};
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
    /// Whether pretraining keeps only what each layer takes and computes the layer again when its gradients are due (Chen et
    /// al., arXiv 1604.06174): a third more computing, a layer's memory instead of all layers'.
    pub recompute: bool,
    /// Logits that pretraining has at once.
    pub logits_at_once: usize,
    gradients: GradientSums,
    /// Losses and right answers since the last step, `[2]`.
    sums: Option<Tensor<1>>,
    /// Tokens of the largest micro-batch so far, and of those that a step was taken with.
    largest: usize,
    largest_done: usize,
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
        self.accumulate_parts(batch, num_masked, None)
    }

    /// [`Self::accumulate`], then gives each parameter's sum of gradients away, under its name and flat, as soon as the backward
    /// pass is beyond the parameter: others can work on it meanwhile. Here it is summed no more.
    pub fn accumulate_and_give(&mut self, batch: &Batch, num_masked: usize, give: Give<'_>) -> Result<()> {
        self.accumulate_parts(batch, num_masked, Some(give))
    }

    fn accumulate_parts(&mut self, batch: &Batch, num_masked: usize, mut give: Option<Give<'_>>) -> Result<()> {
        if batch.masked.is_empty() {
            return Ok(());
        }
        self.largest = self.largest.max(batch.num_tokens);
        let model = self.model.clone();
        let inputs = model.encoder.inputs(&batch.sequences)?;
        let pass = model.encoder.pass(&inputs);
        let mut parts = match &give {
            _ if self.recompute => self.recomputed_parts(batch)?,
            Some(_) => parts(&pass),
            None => vec![Part { x_td: None, y_td: Some(pass.all(|_, _| ())) }],
        };
        self.gradients.count_from_here();
        // The head may use the embedding too.
        let embedding = model.encoder.embedding().name();
        let mut gradient_td = None;
        while let Some(Part { x_td, y_td }) = parts.pop() {
            let y_td = y_td.unwrap_or_else(|| match x_td.clone() {
                None => pass.embed(),
                Some(x_td) => pass.layer(parts.len() - 1, x_td),
            });
            let root = match gradient_td {
                None => self.accumulate_head(&model, y_td, batch, num_masked)?,
                Some(gradient_td) => with_gradient(y_td, gradient_td),
            };
            let mut gradients = root.backward();
            self.gradients.add(&mut self.model, &mut gradients)?;
            gradient_td = x_td.and_then(|x_td| x_td.grad_remove(&mut gradients));
            if let Some(give) = &mut give {
                self.gradients
                    .take_added(|name| name == embedding && !parts.is_empty())
                    .into_iter()
                    .try_for_each(give)?;
            }
        }
        Ok(())
    }

    /// The embedding and each layer, to be computed again from what they take.
    fn recomputed_parts(&self, batch: &Batch) -> Result<Vec<Part>> {
        let mut parts = vec![Part { x_td: None, y_td: None }];
        parts.extend(self.layer_inputs(batch)?.into_iter().map(|x_td| Part { x_td: Some(leaf(x_td)), y_td: None }));
        Ok(parts)
    }

    /// What each layer takes, `[t, d]`. Computed without a graph: one that nobody walks back keeps its tensors until another is
    /// walked.
    fn layer_inputs(&self, batch: &Batch) -> Result<Vec<Tensor<2>>> {
        let model = self.frozen_model()?;
        let inputs = model.encoder.inputs(&batch.sequences)?;
        let pass = model.encoder.pass(&inputs);
        let mut taken = vec![pass.embed()];
        for layer in 0..pass.num_layers() - 1 {
            taken.push(pass.layer(layer, taken[layer].clone()));
        }
        Ok(taken)
    }

    /// Adds the losses of a micro-batch and the gradients of its head, given the last hidden states. Returns what leads to all
    /// the other gradients.
    fn accumulate_head(
        &mut self,
        model: &MaskedLm,
        hidden_td: Tensor<2>,
        batch: &Batch,
        num_masked: usize,
    ) -> Result<Tensor<1>> {
        let hidden_md = rows(hidden_td, &batch.masked);
        let mut gradients_md = Vec::new();
        for (hidden_md, labels) in loss::parts(model, hidden_md.clone().inner(), batch, self.logits_at_once) {
            let hidden_md = leaf(hidden_md);
            let mut gradients = self.add_loss(loss::sums(model, hidden_md.clone(), labels), num_masked);
            self.gradients.add(&mut self.model, &mut gradients)?;
            gradients_md.extend(hidden_md.grad_remove(&mut gradients));
        }
        Ok(with_gradient(hidden_md, Tensor::cat(gradients_md, 0)))
    }
}

/// Who is given sums of gradients: a parameter's name, and its sum, flat.
pub type Give<'a> = &'a mut dyn FnMut((String, Tensor<1>)) -> Result<()>;

/// A part of an encoder in a backward pass, with a graph of its own: the embedding, a layer, or all of it.
struct Part {
    /// What it takes, `[t, d]`. The embedding makes its own of the tokens' ids.
    x_td: Option<Tensor<2>>,
    /// What it makes of it, `[t, d]`; `None` where that is computed again.
    y_td: Option<Tensor<2>>,
}

/// The embedding and each layer.
fn parts(pass: &Pass<'_>) -> Vec<Part> {
    let mut y_td = pass.embed();
    let mut parts = vec![Part { x_td: None, y_td: Some(y_td.clone()) }];
    for layer in 0..pass.num_layers() {
        let x_td = leaf(y_td.inner());
        y_td = pass.layer(layer, x_td.clone());
        parts.push(Part { x_td: Some(x_td), y_td: Some(y_td.clone()) });
    }
    parts
}

/// The beginning of a graph.
fn leaf(inner: Tensor<2>) -> Tensor<2> {
    Tensor::from_inner(inner).require_grad()
}

/// What has this gradient in `y`; its value means nothing.
fn with_gradient(y: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    (y * Tensor::from_inner(gradient)).sum()
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
        Ok(Self {
            model,
            optimizer,
            loss_scale: None,
            recompute: false,
            logits_at_once: LOGITS_AT_ONCE,
            gradients: GradientSums::default(),
            sums: None,
            largest: 0,
            largest_done: 0,
        })
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
        let mut gradients = self.add_loss(sums_2, count);
        self.gradients.add(&mut self.model, &mut gradients)
    }

    fn add_loss(&mut self, sums_2: Tensor<1>, count: usize) -> Gradients {
        let sums = sums_2.clone().inner();
        self.sums = Some(match self.sums.take() {
            Some(before) => before + sums,
            None => sums,
        });
        (sums_2.narrow(0, 0, 1) * (self.scale() / count as f64)).backward()
    }

    /// Takes out the sums `[2]` (losses, right answers) since the last step, or since they were taken; `None` of nothing.
    pub fn take_sums(&mut self) -> Option<Tensor<1>> {
        self.sums.take()
    }

    /// Puts sums over a whole batch, as [`Self::take_sums`] and [`Trainer::accumulate_and_give`] gave of parts of it, in the
    /// place of this trainer's own.
    pub fn put_sums(&mut self, sums: [f32; 2], gradients: Vec<(String, Vec<f32>)>, device: &Device) {
        self.sums = Some(Tensor::from_data(sums, device));
        for (name, values) in gradients {
            let len = values.len();
            self.gradients.insert(&name, Tensor::from_data(TensorData::new(values, [len]), device));
        }
    }

    /// Forgets the micro-batches since the last step.
    pub fn discard(&mut self) {
        self.gradients = GradientSums::default();
        self.sums = None;
        self.largest = self.largest_done;
    }

    /// Clips, refuses or takes the step: enqueues all of it, then waits for the device, the one time in a step. Where micro-batches
    /// were larger than all before, it waits before the parameters are touched too: after an error that
    /// [`Error::is_out_of_memory`] they are as they were.
    pub async fn finish(&mut self, num_masked: usize, learning_rate: f64) -> Result<StepOutcome> {
        let Some(sums_2) = self.sums.take() else {
            return Err(Error::Input {
                message: "a batch has no masked token; raise the batch size or the mask rate".into(),
            });
        };
        let gradients = std::mem::take(&mut self.gradients);
        let clip = Clip { loss_scale: self.scale() as f32, max_grad_norm: self.optimizer.config.max_grad_norm as f32 };
        let numbers = gradients.clip(sums_2, clip);
        if self.largest > self.largest_done {
            // Memory runs out here if it ever does: no parameter may be in line behind what failed.
            read_back(numbers.clone()).await?;
            self.largest_done = self.largest;
        }
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

    /// What one evaluation is told of others: sums of losses, of right answers and of masked tokens.
    pub fn sums(&self) -> [f64; 3] {
        [self.loss_sum, self.num_correct, self.num_masked as f64]
    }

    /// Of the sums of several evaluations' [`Self::sums`].
    pub fn of_sums([loss_sum, num_correct, num_masked]: [f64; 3]) -> Self {
        Self { loss_sum, num_correct, num_masked: num_masked as usize }
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
