//! `anaume bench ops`: the operations of a model one by one, each compared with its composition of tensor operations first.

use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

use anaume_core::config::{ModelConfig, preset_names};
use anaume_core::layers::Precision;
use anaume_core::weights::read_back;
use anaume_shaders::adamw::{AdamWStep, adamw};
use anaume_shaders::attention::{GLOBAL, attention, attention_reference};
use anaume_shaders::cross_entropy::{cross_entropy, cross_entropy_reference};
use anaume_shaders::embedding::{embedding, embedding_reference};
use anaume_shaders::geglu::{geglu, geglu_reference};
use anaume_shaders::layer_norm::{layer_norm_as, layer_norm_reference};
use anaume_shaders::linear::{linear_bf16, linear_bf16_reference};
use anaume_shaders::linear_f16::{linear_f16, linear_f16_reference};
use anaume_shaders::residual;
use anaume_shaders::rope::{rope, rope_reference};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use serde::Serialize;
use serde_json::json;

use super::{LLM_JP_VOCAB_SIZE, Shape, matmul_peak, quartiles, time_enqueued};
use crate::device::check_precision;
use crate::exit::{Coded, Exit};
use crate::plan::name;
use crate::progress::format_si;

/// Arguments of `anaume bench ops`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Size whose operations are measured, with the vocabulary of llm-jp-modernbert
    #[arg(long, default_value = "base", value_parser = clap::builder::PossibleValuesParser::new(preset_names()))]
    preset: String,
    #[command(flatten)]
    shape: Shape,
    /// Only operations whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Takes its inputs, so that it may work in place of one that nobody else holds.
type Operation = Box<dyn Fn(Vec<Tensor<2>>) -> Tensor<2>>;

/// An operation at the size of a model, and what it is to agree with.
struct Op {
    name: &'static str,
    /// Shapes of the differentiable inputs.
    shapes: Vec<[usize; 2]>,
    /// Float types of the first of them and of the others.
    dtypes: [DType; 2],
    run: Operation,
    /// The same composed of tensor operations, and shapes small enough for it; none where it is one of burn's own.
    reference: Option<(Operation, Vec<[usize; 2]>)>,
    /// Floating-point operations, counted for matrix products alone.
    flops: f64,
    /// Bytes that have to be read and written, each value once.
    bytes: f64,
    has_gradient: bool,
    /// Whether it rotates its first input by the second in place, as in a model, where nobody else holds it.
    in_place: bool,
}

/// What was measured of one.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    seconds: f64,
    quartiles: [f64; 2],
    /// Forward and backward together; none of what has no gradient.
    with_gradient_seconds: Option<f64>,
    flops_per_second: f64,
    bytes_per_second: f64,
    /// Of the matrix-product peak or of the copy peak, whichever is nearer.
    share_of_peak: f64,
    /// Largest difference from the composition, relative to its largest value; of outputs and gradients.
    difference: Option<f64>,
}

/// `anaume bench ops`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ready = args.shape.device.open()?;
    check_precision(&ready.device, args.shape.precision)?;
    let config = ModelConfig::preset(&args.preset, LLM_JP_VOCAB_SIZE)?;
    let [matmul, copy] =
        [matmul_peak(&ready.device, args.shape.precision)?, copy_peak(&ready.device, args.shape.runs)?];
    if !args.shape.json {
        println!(
            "{}x{} of {} on {} in {}; matrix product {}FLOP/s, copy {}B/s\n",
            args.shape.batch,
            args.shape.length,
            args.preset,
            ready.description,
            name(args.shape.precision),
            format_si(matmul),
            format_si(copy)
        );
        println!("operation                     forward    + backward    FLOP/s       B/s   of peak   difference");
    }
    let mut all = Vec::new();
    for op in ops(&config, args).iter().filter(|op| op.name.contains(&args.only)) {
        let measured = measure(op, args, [matmul, copy], &ready.device)?;
        if !args.shape.json {
            print_row(&measured);
        }
        all.push(measured);
    }
    if args.shape.json {
        let document = json!({
            "what": "ops", "preset": args.preset, "batch": args.shape.batch, "length": args.shape.length, "precision": args.shape.precision,
            "device": ready.description, "matmul_peak_flops": matmul, "copy_peak_bytes": copy, "ops": all,
        });
        println!("{document:#}");
    }
    Ok(())
}

fn print_row(op: &Measured) {
    let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
    println!(
        "{:<26} {:>10} {:>13} {:>9} {:>9} {:>8.0} % {:>12}",
        op.name,
        milliseconds(op.seconds),
        op.with_gradient_seconds.map_or("-".into(), milliseconds),
        format_si(op.flops_per_second),
        format_si(op.bytes_per_second),
        op.share_of_peak * 100.0,
        op.difference.map_or("-".into(), |difference| format!("{difference:.1e}")),
    );
}

fn ops(config: &ModelConfig, args: &Args) -> Vec<Op> {
    let (d, i, v) = (config.hidden_size, config.intermediate_size, config.vocab_size);
    let (heads, head_size) = (config.num_attention_heads, config.head_size());
    let t = args.shape.batch * args.shape.length;
    let m = t * 3 / 10;
    let dtype = if args.shape.precision == Precision::F16 { DType::F16 } else { DType::F32 };
    let size = dtype.size() as f64;
    let linear = |name, rows: usize, [out, input]: [usize; 2]| {
        type Product = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;
        let own: Option<[Product; 2]> = match args.shape.precision {
            Precision::F32 => None,
            Precision::F16 => Some([linear_f16, linear_f16_reference]),
            Precision::BF16 => Some([linear_bf16, linear_bf16_reference]),
        };
        let with = |product: Product| -> Operation { Box::new(move |x| product(x[0].clone(), x[1].clone())) };
        Op {
            name,
            shapes: vec![[rows, input], [out, input]],
            dtypes: [dtype; 2],
            run: with(own.map_or(|x, weight| x.matmul(weight.transpose()), |[fused, _]| fused)),
            reference: own.map(|[_, reference]| (with(reference), vec![[200, input], [328, input]])),
            flops: 2.0 * (rows * out * input) as f64,
            bytes: size * (rows * input + out * input + rows * out) as f64,
            has_gradient: true,
            in_place: false,
        }
    };
    let attention = |name, window: usize| {
        let seen = args.shape.length.min(window.saturating_mul(2).saturating_add(1));
        let with = move |operation: fn(Tensor<2>, Tensor<2, Int>, usize, usize) -> Tensor<2>, length: usize| {
            move |x: Vec<Tensor<2>>| {
                operation(x[0].clone(), bounds(x[0].dims()[0], length, &x[0].device()), heads, window)
            }
        };
        Op {
            name,
            shapes: vec![[t, 3 * d]],
            dtypes: [dtype; 2],
            run: Box::new(with(attention, args.shape.length)),
            reference: Some((
                Box::new(with(attention_reference, args.shape.length)),
                vec![[args.shape.length.min(384), 3 * d]],
            )),
            flops: 4.0 * (t * seen * d) as f64,
            bytes: size * (4 * t * d) as f64,
            has_gradient: true,
            in_place: false,
        }
    };
    let rotated = move |operation: fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>| {
        move |mut x: Vec<Tensor<2>>| {
            let angles = x.remove(1).detach();
            operation(x.remove(0), angles.clone(), angles)
        }
    };
    let normed = |operation: fn(Tensor<2>, Tensor<1>, f64, DType) -> Tensor<2>| {
        move |x: Vec<Tensor<2>>| operation(x[0].clone(), x[1].clone().reshape([-1]), 1e-5, dtype)
    };
    let losses = |operation: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<2>| {
        move |x: Vec<Tensor<2>>| {
            let [m, v] = x[0].dims();
            operation(x[0].clone(), on_device(&spread(m, v), &x[0].device())).narrow(0, 0, 1)
        }
    };
    // A quarter of the tokens are masked.
    let ids = spread(t, v).into_iter().enumerate().map(|(token, id)| if token % 4 == 0 { 4 } else { id });
    let ids: Arc<[u32]> = ids.collect();
    let same_ids = ids.clone();
    let fused = |name, shapes: Vec<[usize; 2]>, run: Operation, reference: Operation, small, values: usize| Op {
        name,
        shapes,
        dtypes: [dtype; 2],
        run,
        reference: Some((reference, small)),
        flops: 0.0,
        bytes: size * values as f64,
        has_gradient: true,
        in_place: false,
    };
    let parameters = config.num_parameters();
    vec![
        linear("linear Wqkv", t, [3 * d, d]),
        linear("linear Wo", t, [d, d]),
        linear("linear Wi", t, [2 * i, d]),
        linear("linear mlp.Wo", t, [d, i]),
        linear("linear decoder", m, [v, d]),
        attention("attention local", config.sliding_window()),
        attention("attention global", GLOBAL),
        Op {
            dtypes: [dtype, DType::F32],
            in_place: true,
            ..fused(
                "rope",
                vec![[t, 3 * d], [t, head_size / 2]],
                Box::new(rotated(rope)),
                Box::new(rotated(rope_reference)),
                vec![[64, 3 * d], [64, head_size / 2]],
                4 * t * d,
            )
        },
        fused(
            "geglu",
            vec![[t, 2 * i]],
            Box::new(|x| geglu(x[0].clone())),
            Box::new(|x| geglu_reference(x[0].clone())),
            vec![[64, 2 * i]],
            3 * t * i,
        ),
        Op {
            dtypes: [DType::F32; 2],
            bytes: (4.0 + size) * (t * d) as f64,
            ..fused(
                "layer_norm",
                vec![[t, d], [1, d]],
                Box::new(normed(layer_norm_as)),
                Box::new(normed(|x, weight, epsilon, dtype| layer_norm_reference(x, weight, epsilon).cast(dtype))),
                vec![[64, d], [1, d]],
                0,
            )
        },
        fused(
            "cross_entropy",
            vec![[m, v]],
            Box::new(losses(cross_entropy)),
            Box::new(losses(cross_entropy_reference)),
            vec![[16, 4096]],
            m * v,
        ),
        Op {
            dtypes: [DType::F32; 2],
            bytes: 8.0 * (t * d) as f64,
            ..fused(
                "embedding",
                vec![[v, d]],
                Box::new(move |x| embedding(x[0].clone(), on_device(&ids, &x[0].device()), ids.clone())),
                Box::new(move |x| embedding_reference(x[0].clone(), on_device(&same_ids, &x[0].device()))),
                vec![[v, d]],
                0,
            )
        },
        Op {
            dtypes: [DType::F32, dtype],
            bytes: (8.0 + size) * (t * d) as f64,
            ..fused(
                "residual add",
                vec![[t, d]; 2],
                Box::new(|x| residual::add(x[0].clone(), x[1].clone())),
                Box::new(|x| residual::add_reference(x[0].clone(), x[1].clone())),
                vec![[64, d]; 2],
                0,
            )
        },
        Op {
            name: "adamw",
            shapes: vec![[1, parameters]; 4],
            dtypes: [DType::F32; 2],
            run: Box::new(|x| {
                let flat = |index: usize| x[index].clone().reshape([-1]);
                let step = AdamWStep {
                    learning_rate: 1e-4,
                    beta1: 0.9,
                    beta2: 0.98,
                    epsilon: 1e-6,
                    weight_decay: 1e-5,
                    bias_correction1: 0.5,
                    bias_correction2: 0.5,
                };
                let numbers = Tensor::ones([4], &x[0].device());
                adamw(flat(0), flat(1), [flat(2), flat(3).abs()], step, numbers).0.unsqueeze()
            }),
            reference: None,
            flops: 0.0,
            bytes: 28.0 * parameters as f64,
            has_gradient: false,
            in_place: false,
        },
    ]
}

/// First token and end of each token's sequence.
fn bounds(t: usize, length: usize, device: &Device) -> Tensor<2, Int> {
    let start = |token: usize| (token / length * length) as i32;
    let ends = (0..t).map(|token| (start(token) + length as i32).min(t as i32));
    let values: Vec<i32> = (0..t).map(start).chain(ends).collect();
    Tensor::from_data(TensorData::new(values, [2, t]), (device, DType::I32))
}

/// `m` numbers below `v`, spread over them.
fn spread(m: usize, v: usize) -> Vec<u32> {
    (0..m).map(|row| (row.wrapping_mul(2_654_435_761) % v) as u32).collect()
}

fn on_device(numbers: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = numbers.iter().map(|number| number.cast_signed()).collect();
    Tensor::from_data(TensorData::new(values, [numbers.len()]), (device, DType::I32))
}

fn inputs(shapes: &[[usize; 2]], dtypes: [DType; 2], device: &Device) -> Vec<Tensor<2>> {
    let random = |(index, shape): (usize, &[usize; 2])| -> Tensor<2> {
        let values: Tensor<2> = Tensor::random(*shape, Distribution::Uniform(-1.0, 1.0), device);
        values.cast(dtypes[index.min(1)])
    };
    shapes.iter().enumerate().map(random).collect()
}

/// The same values as leaves of a graph.
fn tracked(inputs: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
    inputs.into_iter().map(|input| Tensor::from_inner(input).require_grad()).collect()
}

fn measure(op: &Op, args: &Args, peaks: [f64; 2], device: &Device) -> anyhow::Result<Measured> {
    let (runs, precision) = (args.shape.runs, args.shape.precision);
    let difference = op.reference.as_ref().map(|(reference, small)| difference(op, reference, small, device));
    let difference = difference.transpose()?;
    let tolerance = if precision == Precision::F16 { 2e-2 } else { 1e-4 };
    if let Some(difference) = difference.filter(|difference| difference.is_nan() || *difference > tolerance) {
        let message = format!("{}: differs from its reference by {difference:.1e} on this device", op.name);
        return Err(Coded::error(Exit::Numerical, message));
    }
    let inputs_of_op = inputs(&op.shapes, op.dtypes, device);
    let seconds = forward_seconds(op, &inputs_of_op, runs, device)?;
    let [first, median, third] = quartiles(&seconds);
    let mut with_gradient_seconds = None;
    if op.has_gradient {
        let tracked = tracked(inputs_of_op);
        let seconds = time_enqueued(runs, device, || drop((op.run)(tracked.clone()).backward()))?;
        with_gradient_seconds = Some(quartiles(&seconds)[1]);
    }
    let (flops_per_second, bytes_per_second) = (op.flops / median, op.bytes / median);
    Ok(Measured {
        name: op.name,
        seconds: median,
        quartiles: [first, third],
        with_gradient_seconds,
        flops_per_second,
        bytes_per_second,
        share_of_peak: (flops_per_second / peaks[0]).max(bytes_per_second / peaks[1]),
        difference,
    })
}

/// Seconds that the operation takes, without gradient, sorted.
fn forward_seconds(op: &Op, inputs: &[Tensor<2>], runs: usize, device: &Device) -> anyhow::Result<Vec<f64>> {
    if !op.in_place {
        return time_enqueued(runs, device, || drop((op.run)(inputs.to_vec())));
    }
    // As sine and cosine these keep the size of what is rotated, however often.
    let angles = inputs[1].clone().sign() * FRAC_1_SQRT_2;
    let mut x = Some(inputs[0].clone());
    time_enqueued(runs, device, || x = x.take().map(|x| (op.run)(vec![x, angles.clone()])))
}

/// Largest relative difference of output and gradients between an operation and its reference at a small size. The reference
/// is computed by the CPU in f32, from values that both types have.
fn difference(op: &Op, reference: &Operation, small: &[[usize; 2]], device: &Device) -> anyhow::Result<f64> {
    let evaluate = |operation: &Operation, inputs: Vec<Tensor<2>>| -> anyhow::Result<Vec<Vec<f32>>> {
        let inputs = tracked(inputs);
        let output = operation(inputs.clone());
        let mut gradients = output.clone().backward();
        let mut all = vec![output.inner()];
        all.extend(inputs.iter().filter_map(|input| input.grad_remove(&mut gradients)));
        Ok(all.into_iter().map(|tensor| pollster::block_on(read_back(tensor))).collect::<Result<_, _>>()?)
    };
    let values = inputs(small, op.dtypes, &Device::flex());
    let on_device = |input: &Tensor<2>| input.clone().to_device(device);
    let actual = evaluate(&op.run, values.iter().map(on_device).collect())?;
    let expected = evaluate(reference, values.into_iter().map(|input| input.cast(DType::F32)).collect())?;
    let mut largest = 0.0_f64;
    for (actual, expected) in actual.iter().zip(&expected) {
        let scale = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
        for (actual, expected) in actual.iter().zip(expected) {
            let ratio = f64::from((actual - expected).abs() / scale);
            // `max` would drop a NaN.
            largest = if largest.is_nan() || ratio <= largest { largest } else { ratio };
        }
    }
    Ok(largest)
}

/// Bytes read and written a second by the plainest kernel: the ceiling of what computes little.
pub fn copy_peak(device: &Device, runs: usize) -> anyhow::Result<f64> {
    let values = 1 << 26;
    let x = Tensor::<1>::random([values], Distribution::Uniform(-1.0, 1.0), device);
    let seconds = time_enqueued(runs, device, || drop(x.clone().add_scalar(1.0)))?;
    Ok(8.0 * values as f64 / seconds[0])
}
