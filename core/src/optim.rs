//! AdamW over named parameters, and the sums of gradients that feed it.

use std::collections::BTreeMap;

use anaume_shaders::adamw::{self, AdamWStep};
use anaume_shaders::clip::{self, Clip};
use burn::tensor::{Gradients, Tensor, TensorData};

pub use crate::config::AdamWConfig;
use crate::error::{Error, Result};
use crate::layers::{ParameterVisitor, Parameters};
use crate::weights::{HostTensor, read_back};

/// Sums of gradients by parameter name, flat, on the device.
#[derive(Default)]
pub struct GradientSums(BTreeMap<String, Tensor<1>>);

impl GradientSums {
    /// Adds what one backward pass left at the model's parameters, at some or at all of them.
    pub fn add(&mut self, model: &mut impl Parameters, gradients: &mut Gradients) -> Result<()> {
        struct Take<'a>(&'a mut BTreeMap<String, Tensor<1>>, &'a mut Gradients);
        impl ParameterVisitor for Take<'_> {
            fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
                let Some(gradient) = parameter.grad_remove(self.1) else { return Ok(()) };
                let gradient = gradient.reshape([-1]);
                let sum = match self.0.remove(name) {
                    Some(sum) => sum + gradient,
                    None => gradient,
                };
                self.0.insert(name.into(), sum);
                Ok(())
            }
        }
        model.visit(&mut Take(&mut self.0, gradients))
    }

    /// The numbers of a step that [`clip::clip`] makes, still on the device.
    pub fn clip(&self, sums_2: Tensor<1>, clip: Clip) -> Tensor<1> {
        clip::clip(sums_2, self.0.values().cloned(), clip)
    }

    /// The sum for a parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.0.get(name)
    }
}

/// AdamW and its moments.
#[derive(Default)]
pub struct AdamW {
    /// The constants.
    pub config: AdamWConfig,
    /// Steps taken.
    pub num_steps: u64,
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

    /// Reads the moments back, as `NAME.exp_avg` and `NAME.exp_avg_sq` (PyTorch's names).
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

    /// Restores what [`Self::read_state`] gave, for the parameters of `model`.
    pub fn restore(&mut self, model: &mut impl Parameters, num_steps: u64, tensors: Vec<HostTensor>) -> Result<()> {
        self.num_steps = num_steps;
        if num_steps == 0 && tensors.is_empty() {
            return Ok(());
        }
        let tensors = tensors.into_iter().map(|tensor| (tensor.name, tensor.values)).collect();
        let mut restore = Restore { tensors, moments: BTreeMap::new() };
        model.visit(&mut restore)?;
        if let Some(name) = restore.tensors.keys().next() {
            let message = "the model has no such parameter".into();
            return Err(Error::Weights { tensor: name.clone(), message });
        }
        self.moments = restore.moments;
        Ok(())
    }
}

const MOMENT_SUFFIXES: [&str; 2] = ["exp_avg", "exp_avg_sq"];

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientSums,
    step: AdamWStep,
    numbers: Tensor<1>,
}

impl ParameterVisitor for Update<'_> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
        let Some(gradient) = self.gradients.0.remove(name) else {
            let message = "no gradient was summed for this parameter".into();
            return Err(Error::Weights { tensor: name.into(), message });
        };
        let shape = parameter.dims();
        // Taken out of the model, so that the update can happen in place.
        let flat: Tensor<1> = parameter.extract().inner().reshape([-1]);
        let moments = self.optimizer.moments.remove(name).unwrap_or_else(|| [flat.zeros_like(), flat.zeros_like()]);
        let decays = D > 1;
        let step = AdamWStep { weight_decay: if decays { self.step.weight_decay } else { 0.0 }, ..self.step };
        let (flat, moments) = adamw::adamw(flat, gradient, moments, step, self.numbers.clone());
        self.optimizer.moments.insert(name.into(), moments);
        *parameter = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Ok(())
    }
}

struct Restore {
    tensors: BTreeMap<String, Vec<f32>>,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl ParameterVisitor for Restore {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
        let device = parameter.device().inner();
        let count = parameter.shape().num_elements();
        let mut moment = |suffix: &str| {
            let name = format!("{name}.{suffix}");
            match self.tensors.remove(&name) {
                Some(values) if values.len() == count => {
                    Ok(Tensor::from_data(TensorData::new(values, [count]), &device))
                }
                Some(values) => {
                    let message = format!("{} values in the optimizer state, {count} in the model", values.len());
                    Err(Error::Weights { tensor: name, message })
                }
                None => Err(Error::Weights { tensor: name, message: "missing in the optimizer state".into() }),
            }
        };
        self.moments.insert(name.into(), [moment(MOMENT_SUFFIXES[0])?, moment(MOMENT_SUFFIXES[1])?]);
        Ok(())
    }
}
