//! AdamW over named parameters, and the sums of gradients that feed it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anaume_shaders::adamw::{self, AdamWStep};
use anaume_shaders::clip::{self, Clip};
use burn::tensor::{Gradients, Tensor, TensorData};

pub use crate::config::AdamWConfig;
use crate::error::{Error, Result};
use crate::layers::{ParameterVisitor, Parameters};
use crate::weights::{HostTensor, read_back};

/// Sums of gradients by parameter name, flat, on the device.
#[derive(Default)]
pub struct GradientSums {
    sums: BTreeMap<String, Tensor<1>>,
    /// Names of the sums that something was added to since [`Self::count_from_here`].
    added: BTreeSet<String>,
}

impl GradientSums {
    /// Adds what one backward pass left at the model's parameters, at some or at all of them.
    pub fn add(&mut self, model: &mut impl Parameters, gradients: &mut Gradients) -> Result<()> {
        struct Take<'a>(&'a mut GradientSums, &'a mut Gradients);
        impl ParameterVisitor for Take<'_> {
            fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
                let Some(gradient) = parameter.grad_remove(self.1) else { return Ok(()) };
                let gradient = gradient.reshape([-1]);
                let sum = match self.0.sums.remove(name) {
                    Some(sum) => sum + gradient,
                    None => gradient,
                };
                self.0.insert(name, sum);
                Ok(())
            }
        }
        model.visit(&mut Take(self, gradients))
    }

    /// Sets the sum for a parameter.
    pub fn insert(&mut self, name: &str, sum: Tensor<1>) {
        self.sums.insert(name.into(), sum);
        self.added.insert(name.into());
    }

    /// From here on counts what sums something is added to.
    pub fn count_from_here(&mut self) {
        self.added.clear();
    }

    /// Takes out the sums that something was added to since they were counted or taken, but for those that `stays` names.
    pub fn take_added(&mut self, stays: impl Fn(&str) -> bool) -> Vec<(String, Tensor<1>)> {
        let (stay, go) = std::mem::take(&mut self.added).into_iter().partition(|name| stays(name));
        self.added = stay;
        let go: BTreeSet<String> = go;
        go.into_iter().filter_map(|name| self.sums.remove_entry(&name)).collect()
    }

    /// The numbers of a step that [`clip::clip`] makes, still on the device.
    pub fn clip(&self, sums_2: Tensor<1>, clip: Clip) -> Tensor<1> {
        clip::clip(sums_2, self.sums.values().cloned(), clip)
    }

    /// The sum for a parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.sums.get(name)
    }
}

/// Which part of every parameter an optimizer updates and has the moments of: the `index`-th of `count` (ZeRO stage 1, Rajbhandari
/// et al., arXiv 1910.02054).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the part, from 0.
    pub index: usize,
    /// Parts in all.
    pub count: usize,
}

impl Default for Shard {
    /// The whole.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// Most values that a part of a flat parameter of `len` values has: all but the last ones have so many.
    pub fn most(self, len: usize) -> usize {
        len.div_ceil(self.count)
    }

    /// The part of a flat parameter of `len` values; it may be empty.
    pub fn range(self, len: usize) -> Range<usize> {
        let most = self.most(len);
        (self.index * most).min(len)..((self.index + 1) * most).min(len)
    }
}

/// AdamW and its moments.
#[derive(Default)]
pub struct AdamW {
    /// The constants.
    pub config: AdamWConfig,
    /// Steps taken.
    pub num_steps: u64,
    /// What of each parameter it updates.
    pub shard: Shard,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// A fresh optimizer.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Enqueues step `num_steps + 1` with the `numbers` that [`GradientSums::clip`] made. Whether they allow it only the device
    /// knows by now: who has read them back counts the step.
    pub fn step(
        &mut self,
        model: &mut impl Parameters,
        gradients: GradientSums,
        learning_rate: f64,
        numbers: Tensor<1>,
    ) -> Result<()> {
        let config = self.config;
        let num_steps = (self.num_steps + 1).min(i32::MAX as u64) as i32;
        let correction = |beta: f64| (1.0 - beta.powi(num_steps)) as f32;
        let step = AdamWStep {
            learning_rate: learning_rate as f32,
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            epsilon: config.epsilon as f32,
            weight_decay: config.weight_decay as f32,
            bias_correction1: correction(config.beta1),
            bias_correction2: correction(config.beta2),
        };
        model.visit(&mut Update { optimizer: self, gradients, step, numbers })
    }

    /// Reads the moments back, as `NAME.exp_avg` and `NAME.exp_avg_sq` (PyTorch's names); those of its shard.
    pub async fn read_state(&self) -> Result<Vec<HostTensor>> {
        let mut tensors = Vec::with_capacity(2 * self.moments.len());
        for (name, moments) in &self.moments {
            for (suffix, moment) in MOMENT_SUFFIXES.iter().zip(moments) {
                let values = read_back(moment.clone()).await?;
                tensors.push(HostTensor { name: format!("{name}.{suffix}"), shape: vec![values.len()], values });
            }
        }
        Ok(tensors)
    }

    /// Restores what [`Self::read_state`] gave where nothing is sharded, for the parameters of `model`.
    pub fn restore(&mut self, model: &mut impl Parameters, num_steps: u64, tensors: Vec<HostTensor>) -> Result<()> {
        self.num_steps = num_steps;
        if num_steps == 0 && tensors.is_empty() {
            return Ok(());
        }
        let tensors = tensors.into_iter().map(|tensor| (tensor.name, tensor.values)).collect();
        let mut restore = Restore { tensors, shard: self.shard, moments: BTreeMap::new() };
        model.visit(&mut restore)?;
        if let Some(name) = restore.tensors.keys().next() {
            let message = "the model has no such parameter".into();
            return Err(Error::Weights { tensor: name.clone(), message });
        }
        self.moments = restore.moments;
        Ok(())
    }
}

/// What follows a parameter's name and a dot in the names of its moments.
pub const MOMENT_SUFFIXES: [&str; 2] = ["exp_avg", "exp_avg_sq"];

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientSums,
    step: AdamWStep,
    numbers: Tensor<1>,
}

impl ParameterVisitor for Update<'_> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
        let Some(gradient) = self.gradients.sums.remove(name) else {
            let message = "no gradient was summed for this parameter".into();
            return Err(Error::Weights { tensor: name.into(), message });
        };
        let shape = parameter.dims();
        // Taken out of the model, so that the update can happen in place.
        let mut flat: Tensor<1> = parameter.extract().inner().reshape([-1]);
        let len = shape.iter().product();
        let range = self.optimizer.shard.range(len);
        if range.len() == len {
            flat = self.update(name, flat, gradient, D > 1);
        } else if !range.is_empty() {
            let part = |tensor: &Tensor<1>| tensor.clone().slice([range.clone()]);
            let part = self.update(name, part(&flat), part(&gradient), D > 1);
            flat = flat.slice_assign([range], part);
        }
        *parameter = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Ok(())
    }
}

impl Update<'_> {
    /// A flat parameter after the step, or a part of it.
    fn update(&mut self, name: &str, flat: Tensor<1>, gradient: Tensor<1>, decays: bool) -> Tensor<1> {
        let moments = self.optimizer.moments.remove(name).unwrap_or_else(|| [flat.zeros_like(), flat.zeros_like()]);
        let step = AdamWStep { weight_decay: if decays { self.step.weight_decay } else { 0.0 }, ..self.step };
        let (flat, moments) = adamw::adamw(flat, gradient, moments, step, self.numbers.clone());
        self.optimizer.moments.insert(name.into(), moments);
        flat
    }
}

struct Restore {
    tensors: BTreeMap<String, Vec<f32>>,
    shard: Shard,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl ParameterVisitor for Restore {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
        let device = parameter.device().inner();
        let count = parameter.shape().num_elements();
        let range = self.shard.range(count);
        let mut moment = |suffix: &str| {
            let name = format!("{name}.{suffix}");
            match self.tensors.remove(&name) {
                Some(mut values) if values.len() == count => {
                    values.truncate(range.end);
                    values.drain(..range.start);
                    Ok(Tensor::from_data(TensorData::new(values, [range.len()]), &device))
                }
                Some(values) => {
                    let message = format!("{} values in the optimizer state, {count} in the model", values.len());
                    Err(Error::Weights { tensor: name, message })
                }
                None => Err(Error::Weights { tensor: name, message: "missing in the optimizer state".into() }),
            }
        };
        let moments = [moment(MOMENT_SUFFIXES[0])?, moment(MOMENT_SUFFIXES[1])?];
        if !range.is_empty() {
            self.moments.insert(name.into(), moments);
        }
        Ok(())
    }
}
