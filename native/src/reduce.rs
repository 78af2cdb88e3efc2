//! The gradients of a batch summed over micro-batches and ranks, while backward passes run.
//!
//! Parameters lie in buckets, in the order in which backward passes reach them. A backward pass gives a parameter's gradient away
//! as soon as it is beyond it; a second thread reads it from the device and, once a bucket is complete, sums it over the ranks,
//! bucket after bucket in the same order on all. (The method is that of PyTorch's DistributedDataParallel, Li et al., arXiv
//! 2006.15704.)
//!
//! Exact sums are of integers: every value of every micro-batch's gradient is cut to a multiple of 2⁻⁴⁸ first, so that neither the
//! order of the sum nor the rank that computed a micro-batch changes a bit.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context as Waking, Poll, Waker};
use std::time::{Duration, Instant};

use anaume_core::batch::Batch;
use anaume_core::error::{Error, Result};
use anaume_core::layers::{ParameterVisitor, Parameters};
use anaume_core::optim::{MOMENT_SUFFIXES, Shard};
use anaume_core::train_step::Trainer;
use anaume_core::weights::{HostTensor, read_back};
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use rayon::prelude::*;

use crate::ranks::Ranks;
use crate::recipe::Reduction;

/// Values of a bucket, but where one parameter has more: large enough that a message costs little, small enough that the first is
/// on its way early.
const BUCKET_VALUES: usize = 1 << 20;
/// The grid of exact sums of gradients. Where a value of an f32 is above 2⁻²⁵, it lies on the grid already.
const GRID: f64 = (1_u64 << 48) as f64;
/// The grid of exact sums of losses.
const LOSS_GRID: f64 = (1_u64 << 24) as f64;
/// What no exact sum may reach.
const LIMIT: f64 = (1_u64 << 62) as f64;
/// Gradients of parameters that may wait to be summed: the backward pass waits for more.
const MOST_ARRIVING: usize = 16;
/// Values that a thread converts at a time.
const VALUES_AT_ONCE: usize = 1 << 16;

/// Sums gradients over micro-batches and ranks.
pub struct Reducer {
    reduction: Reduction,
    device: Device,
    buckets: Vec<Bucket>,
    /// The bucket of each parameter, and its place there.
    places: BTreeMap<String, (usize, Range<usize>)>,
    /// How long the last step waited for sums after its backward passes.
    pub wait: Duration,
}

/// Parameters that are summed at once.
struct Bucket {
    parameters: Vec<(String, Range<usize>)>,
    len: usize,
    sums: Sums,
}

enum Sums {
    Exact(Vec<i64>),
    Fast(Vec<f32>),
}

/// A gradient on its way from the device.
struct Arriving {
    name: String,
    values: Reading,
    /// Whether this rank has no more for this parameter in this step.
    last: bool,
}

enum Reading {
    Done(Vec<f32>),
    Running(Pin<Box<dyn Future<Output = Result<Vec<f32>>> + Send>>),
}

impl Reducer {
    /// For the parameters of a model.
    pub fn new(model: &mut impl Parameters, reduction: Reduction, device: &Device) -> Result<Self> {
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut places = BTreeMap::new();
        // Backward.
        for (name, len) in sizes(model)?.into_iter().rev() {
            if buckets.last().is_none_or(|bucket| bucket.len + len > BUCKET_VALUES) {
                let sums = Sums::Fast(Vec::new());
                buckets.push(Bucket { parameters: Vec::new(), len: 0, sums });
            }
            let number = buckets.len() - 1;
            let bucket = &mut buckets[number];
            let range = bucket.len..bucket.len + len;
            bucket.len = range.end;
            places.insert(name.clone(), (number, range.clone()));
            bucket.parameters.push((name, range));
        }
        Ok(Self { reduction, device: device.clone(), buckets, places, wait: Duration::ZERO })
    }

    /// Computes the gradients of a step and sums them over all ranks into the trainer. Of the batch's micro-batches, which all ranks
    /// have, this one computes its share: every `size`-th.
    pub fn accumulate(
        &mut self,
        trainer: &mut Trainer,
        micro_batches: &[Batch],
        num_masked: usize,
        ranks: &Ranks,
    ) -> Result<()> {
        if num_masked == 0 {
            // There is nothing to sum; the step says so.
            return Ok(());
        }
        let exact = self.reduction == Reduction::Exact;
        let loss_scale = trainer.loss_scale.map_or(1.0, |scale| scale.factor);
        let limit = LIMIT / micro_batches.len() as f64;
        let share: Vec<&Batch> = micro_batches
            .iter()
            .skip(ranks.rank)
            .step_by(ranks.size)
            .filter(|batch| !batch.masked.is_empty())
            .collect();
        self.buckets.iter_mut().for_each(|bucket| bucket.clear(exact));
        let (sender, arriving) = sync_channel(MOST_ARRIVING);
        let (buckets, places) = (&mut self.buckets, &self.places);
        let mut sums = Totals::default();
        let (finished, reduced) = std::thread::scope(|scope| {
            let summing =
                Summing { places, factor: GRID / loss_scale, limit, ranks, f16: self.reduction == Reduction::FastF16 };
            let worker = scope.spawn(move || summing.run(buckets, arriving));
            let computed = share.iter().enumerate().try_for_each(|(number, batch)| {
                let last = number + 1 == share.len();
                if last || exact {
                    let mut give = |(name, gradient): (String, Tensor<1>)| {
                        // If nobody listens any more, the thread says why.
                        let _ = sender.send(Arriving { name, values: start_reading(gradient)?, last });
                        Ok(())
                    };
                    trainer.accumulate_and_give(batch, num_masked, &mut give)?;
                } else {
                    trainer.accumulate(batch, num_masked)?;
                }
                match exact || last {
                    true => sums.add(trainer, exact, limit),
                    false => Ok(()),
                }
            });
            drop(sender);
            let finished = Instant::now();
            let reduced = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (finished, computed.and(reduced))
        });
        let bad = reduced?;
        self.wait = finished.elapsed();
        let (sums, bad) = sums.over(ranks, exact, bad);
        let mut gradients: Vec<_> = self.buckets.iter_mut().flat_map(|bucket| bucket.take(loss_scale)).collect();
        if bad {
            // Makes the norm infinite: the step is refused as it is where a gradient of f32 is not finite.
            gradients.iter_mut().take(1).for_each(|(_, values)| values[0] = f32::INFINITY);
        }
        trainer.put_sums(sums, gradients, &self.device);
        Ok(())
    }
}

/// Losses and right answers of this rank's micro-batches.
#[derive(Default)]
struct Totals {
    sums: [f64; 2],
    integers: [i64; 2],
    not_finite: bool,
}

impl Totals {
    fn add(&mut self, trainer: &mut Trainer, exact: bool, limit: f64) -> Result<()> {
        let Some(sums_2) = trainer.take_sums() else { return Ok(()) };
        for (index, value) in pollster::block_on(read_back(sums_2))?.into_iter().enumerate() {
            let scaled = f64::from(value) * LOSS_GRID;
            self.sums[index] += f64::from(value);
            self.integers[index] += scaled as i64;
            self.not_finite |= exact && is_beyond(scaled, limit);
        }
        Ok(())
    }

    /// The sums over all ranks, and whether a gradient of one is `bad`.
    fn over(self, ranks: &Ranks, exact: bool, bad: bool) -> ([f32; 2], bool) {
        if !exact {
            let mut sums = self.sums;
            ranks.sum_f64(&mut sums);
            return (sums.map(|sum| sum as f32), false);
        }
        let mut all = [self.integers[0], self.integers[1], i64::from(self.not_finite), i64::from(bad)];
        ranks.sum_i64(&mut all);
        let [loss, right] = [all[0], all[1]].map(|sum| (sum as f64 / LOSS_GRID) as f32);
        ([if all[2] > 0 { f32::NAN } else { loss }, right], all[3] > 0)
    }
}

/// Begins to read a gradient, so that the device copies it before it goes on.
fn start_reading(gradient: Tensor<1>) -> Result<Reading> {
    let mut reading: Pin<Box<dyn Future<Output = Result<Vec<f32>>> + Send>> = Box::pin(read_back(gradient));
    match reading.as_mut().poll(&mut Waking::from_waker(Waker::noop())) {
        Poll::Ready(values) => Ok(Reading::Done(values?)),
        Poll::Pending => Ok(Reading::Running(reading)),
    }
}

/// What the second thread needs to know.
struct Summing<'a> {
    places: &'a BTreeMap<String, (usize, Range<usize>)>,
    /// Of exact sums: from a gradient, which is multiplied by the loss scale, to the grid.
    factor: f64,
    limit: f64,
    ranks: &'a Ranks,
    f16: bool,
}

impl Summing<'_> {
    /// Sums what arrives, then all over the ranks. Returns whether a value was beyond what an exact sum takes.
    fn run(&self, buckets: &mut [Bucket], arriving: Receiver<Arriving>) -> Result<bool> {
        let mut missing: Vec<usize> = buckets.iter().map(|bucket| bucket.parameters.len()).collect();
        let (mut next, mut bad) = (0, false);
        for Arriving { name, values, last } in arriving {
            let values = match values {
                Reading::Done(values) => values,
                Reading::Running(reading) => pollster::block_on(reading)?,
            };
            let (number, range) = self.places.get(&name).ok_or_else(|| Error::Weights {
                tensor: name,
                message: "no such parameter was there when the run began".into(),
            })?;
            bad |= buckets[*number].add(range.clone(), &values, self.factor, self.limit);
            missing[*number] -= usize::from(last);
            while next < buckets.len() && missing[next] == 0 {
                buckets[next].reduce(self.ranks, self.f16);
                next += 1;
            }
        }
        // This rank has no more; what it computed nothing for is zero.
        buckets[next..].iter_mut().for_each(|bucket| bucket.reduce(self.ranks, self.f16));
        Ok(bad)
    }
}

impl Bucket {
    fn clear(&mut self, exact: bool) {
        self.sums = match exact {
            true => Sums::Exact(vec![0; self.len]),
            false => Sums::Fast(vec![0.0; self.len]),
        };
    }

    /// Adds values in their place; whether one of them was beyond what an exact sum takes.
    fn add(&mut self, range: Range<usize>, values: &[f32], factor: f64, limit: f64) -> bool {
        match &mut self.sums {
            Sums::Fast(sums) => {
                sums[range].copy_from_slice(values);
                false
            }
            Sums::Exact(sums) => {
                let parts = sums[range].par_chunks_mut(VALUES_AT_ONCE).zip(values.par_chunks(VALUES_AT_ONCE));
                parts.map(|(sums, values)| add_exactly(sums, values, factor, limit)).reduce(|| false, |a, b| a | b)
            }
        }
    }

    fn reduce(&mut self, ranks: &Ranks, f16: bool) {
        match &mut self.sums {
            Sums::Exact(sums) => ranks.sum_i64(sums),
            Sums::Fast(sums) if f16 => sum_f16(sums, ranks),
            Sums::Fast(sums) => ranks.sum_f32(sums),
        }
    }

    /// The sums by parameter, multiplied by the loss scale as gradients are.
    fn take(&mut self, loss_scale: f64) -> Vec<(String, Vec<f32>)> {
        let sums = std::mem::replace(&mut self.sums, Sums::Fast(Vec::new()));
        let values = |range: &Range<usize>| match &sums {
            Sums::Fast(sums) => sums[range.clone()].to_vec(),
            Sums::Exact(sums) => {
                let to_f32 = |sum: &i64| (*sum as f64 / GRID * loss_scale) as f32;
                sums[range.clone()].par_iter().with_min_len(VALUES_AT_ONCE).map(to_f32).collect()
            }
        };
        self.parameters.iter().map(|(name, range)| (name.clone(), values(range))).collect()
    }
}

/// Whether an exact sum cannot take a value, be it too large or no number.
fn is_beyond(value: f64, limit: f64) -> bool {
    value.is_nan() || value.abs() >= limit
}

fn add_exactly(sums: &mut [i64], values: &[f32], factor: f64, limit: f64) -> bool {
    let mut bad = false;
    for (sum, value) in sums.iter_mut().zip(values) {
        let scaled = f64::from(*value) * factor;
        bad |= is_beyond(scaled, limit);
        // No sum of values within the limit overflows; what else comes of it is thrown away.
        *sum = sum.wrapping_add(scaled as i64);
    }
    bad
}

/// Replaces values by their sums over all ranks: each rank sums a part in f32, what goes between them is f16 in a range that all
/// agree on. Values that are not finite make all sums so.
fn sum_f16(values: &mut [f32], ranks: &Ranks) {
    let size = ranks.size;
    let largest =
        values.iter().fold(0.0_f32, |most, value| most.max(if value.is_nan() { f32::INFINITY } else { value.abs() }));
    let largest = ranks.max(largest);
    if largest == 0.0 {
        return;
    }
    // The largest becomes one of [2¹⁴, 2¹⁵], and so does the mean of several.
    let scale = 2.0_f32.powi(15 - (largest.log2().ceil().clamp(-110.0, 127.0) as i32));
    let part = values.len().div_ceil(size);
    let mut halves: Vec<u16> = values.iter().map(|value| f16::from_f32(value * scale).to_bits()).collect();
    halves.resize(part * size, 0);
    let received = ranks.all_to_all_u16(&halves);
    let sum = |index: usize| {
        received.iter().skip(index).step_by(part).map(|bits| f16::from_bits(*bits).to_f32()).sum::<f32>()
    };
    let means: Vec<u16> = (0..part).map(|index| f16::from_f32(sum(index) / size as f32).to_bits()).collect();
    let means = ranks.all_gather_u16(&means);
    let back = size as f32 / scale;
    values.iter_mut().zip(means).for_each(|(value, mean)| *value = f16::from_bits(mean).to_f32() * back);
    if !largest.is_finite() {
        values.fill(f32::NAN);
    }
}

/// Makes sharded parameters whole again: each rank has updated its part.
pub fn gather_parameters(model: &mut impl Parameters, shard: Shard, ranks: &Ranks) -> Result<()> {
    struct Gather<'a>(Shard, &'a Ranks);
    impl ParameterVisitor for Gather<'_> {
        fn visit<const D: usize>(&mut self, _: &str, parameter: &mut Tensor<D>) -> Result<()> {
            let (shape, device) = (parameter.shape(), parameter.device().inner());
            let flat = parameter.clone().inner().reshape([-1]);
            let range = self.0.range(shape.num_elements());
            let part = match range.is_empty() {
                true => Vec::new(),
                false => pollster::block_on(read_back(flat.slice([range])))?,
            };
            let whole = TensorData::new(gather(part, shape.num_elements(), self.0, self.1), shape);
            *parameter = Tensor::from_inner(Tensor::from_data(whole, &device)).require_grad();
            Ok(())
        }
    }
    model.visit(&mut Gather(shard, ranks))
}

/// All of a flat tensor of `len` values, given this rank's part.
fn gather(mut part: Vec<f32>, len: usize, shard: Shard, ranks: &Ranks) -> Vec<f32> {
    part.resize(shard.most(len), 0.0);
    let mut whole = ranks.all_gather_f32(&part);
    // Only what is behind the last value was added.
    whole.truncate(len);
    whole
}

/// The moments of all of a model's parameters, as a checkpoint has them.
pub fn gather_moments(trainer: &mut Trainer, ranks: &Ranks) -> Result<Vec<HostTensor>> {
    let parts = pollster::block_on(trainer.optimizer.read_state())?;
    let shard = trainer.optimizer.shard;
    if shard.count == 1 || !ranks.any(!parts.is_empty()) {
        return Ok(parts);
    }
    let mut parts: BTreeMap<String, Vec<f32>> = parts.into_iter().map(|part| (part.name, part.values)).collect();
    let mut moments = Vec::new();
    for (name, len) in sizes(&mut trainer.model)? {
        for suffix in MOMENT_SUFFIXES {
            let name = format!("{name}.{suffix}");
            let values = gather(parts.remove(&name).unwrap_or_default(), len, shard, ranks);
            moments.push(HostTensor { shape: vec![len], values, name });
        }
    }
    Ok(moments)
}

/// Name and number of values of each parameter, in the order of the computation.
fn sizes(model: &mut impl Parameters) -> Result<Vec<(String, usize)>> {
    struct Sizes(Vec<(String, usize)>);
    impl ParameterVisitor for Sizes {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
            self.0.push((name.into(), parameter.shape().num_elements()));
            Ok(())
        }
    }
    let mut sizes = Sizes(Vec::new());
    model.visit(&mut sizes)?;
    Ok(sizes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of many sizes, as gradients have them.
    fn values(seed: u32, count: u32) -> Vec<f32> {
        let value = |index: u32| {
            let bits = (index + 1).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            sign * (1.0 + bits as f32 / u32::MAX as f32) * 2.0_f32.powi(-((bits >> 8) as i32 % 50))
        };
        (0..count).map(value).collect()
    }

    fn exact(parts: &[Vec<f32>], loss_scale: f64) -> Vec<f32> {
        let len = parts[0].len();
        let parameters = vec![("w".to_owned(), 0..len)];
        let mut bucket = Bucket { parameters, len, sums: Sums::Exact(vec![0; len]) };
        for part in parts {
            assert!(!bucket.add(0..len, part, GRID / loss_scale, LIMIT / parts.len() as f64));
        }
        bucket.take(loss_scale).remove(0).1
    }

    #[test]
    fn exact_sums_do_not_depend_on_the_order_and_are_those_of_f64() {
        let mut parts: Vec<_> = (0..7).map(|seed| values(seed, 1000)).collect();
        let sums = exact(&parts, 1.0);
        for _ in 0..parts.len() {
            parts.rotate_left(1);
            parts.swap(0, 3);
            assert!(exact(&parts, 1.0).iter().zip(&sums).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        for (index, sum) in sums.iter().enumerate() {
            let expected: f64 = parts.iter().map(|part| f64::from(part[index])).sum();
            // Each value is cut by less than a step of the grid, and the sum rounded to f32 once.
            let tolerance = 7.0 / GRID + expected.abs() * f64::from(f32::EPSILON);
            assert!((f64::from(*sum) - expected).abs() <= tolerance, "{sum} and {expected}");
        }
        // In f32 the order changes bits: what the integers are for.
        let in_f32 =
            |order: [usize; 7], index: usize| order.iter().fold(0.0_f32, |sum, part| sum + parts[*part][index]);
        assert!((0..1000).any(|index| in_f32([0, 1, 2, 3, 4, 5, 6], index) != in_f32([6, 2, 4, 0, 5, 1, 3], index)));
    }

    #[test]
    fn exact_sums_are_of_unscaled_gradients_whatever_the_loss_scale() {
        let parts: Vec<_> = (0..3).map(|seed| values(seed, 200)).collect();
        let scaled: Vec<Vec<f32>> =
            parts.iter().map(|part| part.iter().map(|value| value * 65_536.0).collect()).collect();
        let expected: Vec<f32> = exact(&parts, 1.0).iter().map(|sum| sum * 65_536.0).collect();
        assert_eq!(exact(&scaled, 65_536.0), expected);
    }

    #[test]
    fn what_no_exact_sum_takes_is_told() {
        for (value, beyond) in [
            (1.0, false),
            (-15.9, false),
            (4096.0, true),
            (f32::NAN, true),
            (f32::INFINITY, true),
            (f32::NEG_INFINITY, true),
            (f32::MAX, true),
        ] {
            let limit = LIMIT / 1000.0;
            assert_eq!(add_exactly(&mut [0; 2], &[0.5, value], GRID, limit), beyond, "{value}");
        }
        // As many of the largest as there may be.
        let mut sum = [0];
        for _ in 0..1000 {
            assert!(!add_exactly(&mut sum, &[16.0], GRID, LIMIT / 1000.0));
        }
        assert_eq!(sum[0] as f64 / GRID, 16_000.0);
    }

    #[test]
    fn sums_in_f16_keep_ten_bits_whatever_the_size_of_the_gradients() {
        let ranks = Ranks::alone();
        for scale in [1e-30_f32, 1e-8, 1.0, 1e20] {
            let original: Vec<f32> = (1..500).map(|index| scale * (1.0 + index as f32 / 7.0)).collect();
            let mut sums = original.clone();
            sum_f16(&mut sums, &ranks);
            let difference = sums.iter().zip(&original).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f32::max);
            assert!(difference <= 1.0 / 1024.0 && difference > 0.0, "{scale}: {difference}");
        }
        let mut zeros = [0.0; 3];
        sum_f16(&mut zeros, &ranks);
        assert_eq!(zeros, [0.0; 3]);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut sums = [1.0, bad, 2.0];
            sum_f16(&mut sums, &ranks);
            assert!(sums.iter().all(|sum| sum.is_nan()));
        }
    }
}
