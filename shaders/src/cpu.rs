//! What the CPU twins share: plain slices of a flex tensor, and loops that are compiled once per instruction set.

use burn::backend::{Flex, FloatDType, ops::FloatTensorOps, tensor::FloatTensor};
use burn::tensor::{DType, Shape, TensorData};
use rayon::prelude::*;

/// A flex tensor of floats.
pub(crate) type Tensor = FloatTensor<Flex>;

/// The same values as contiguous f32. Half precision is computed in f32 on the CPU, as the GPU kernels accumulate.
pub(crate) fn contiguous(tensor: Tensor) -> Tensor {
    let tensor = if tensor.dtype() == DType::F32 { tensor } else { Flex::float_cast(tensor, FloatDType::F32) };
    tensor.to_contiguous()
}

/// The values of a tensor that [`contiguous`] returned.
pub(crate) fn values(tensor: &Tensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<f32>()[start..start + tensor.layout().num_elements()]
}

/// The values of a tensor that [`contiguous`] returned, for change; copied first if somebody else holds them.
pub(crate) fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    let (start, len) = (tensor.layout().start_offset(), tensor.layout().num_elements());
    &mut tensor.storage_mut::<f32>()[start..start + len]
}

/// A new f32 tensor that takes over `values`.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_data(TensorData::new(values, shape.into()))
}

/// A tensor in the precision `dtype` of the operation's input.
pub(crate) fn restore(tensor: Tensor, dtype: DType) -> Tensor {
    match dtype {
        DType::F16 => Flex::float_cast(tensor, FloatDType::F16),
        DType::BF16 => Flex::float_cast(tensor, FloatDType::BF16),
        _ => tensor,
    }
}

/// The 32-bit integers of an int tensor.
pub(crate) fn int_values(tensor: &<Flex as burn::backend::BackendTypes>::IntTensorPrimitive) -> Vec<i32> {
    burn::tensor::read_sync(<Flex as burn::backend::ops::IntTensorOps<Flex>>::int_into_data(tensor.clone()))
        .map(|data| data.iter::<i32>().collect())
        .unwrap_or_default()
}

/// Computes an expression, made of plain loops over slices, on the widest vectors that the processor has. A macro, since the loops
/// must be inlined: left to itself the compiler puts a large closure into a function of its own, for the oldest processor.
macro_rules! vectorised {
    ($work:expr) => {
        $crate::cpu::dispatch(
            #[inline(always)]
            || $work,
        )
    };
}
pub(crate) use vectorised;

/// Compiles `work`, which must be inlined, once per instruction set; in a browser there is one.
#[inline(always)]
pub(crate) fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    if cfg!(target_feature = "simd128") { work() } else { pulp::Arch::new().dispatch(work) }
}

/// A part of a matrix that the tasks of one call share: row stride and pointer to its first value. Tasks write disjoint
/// parts.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub start: *mut f32,
    pub stride: usize,
}
// SAFETY: a task touches rows and columns that no other task writes.
unsafe impl Send for Matrix {}
unsafe impl Sync for Matrix {}

impl Matrix {
    /// To be read only.
    pub fn of(values: &[f32], stride: usize) -> Self {
        Self { start: values.as_ptr().cast_mut(), stride }
    }
    pub fn of_mut(values: &mut [f32], stride: usize) -> Self {
        Self { start: values.as_mut_ptr(), stride }
    }
    pub fn at(self, row: usize, column: usize) -> Self {
        // SAFETY: callers stay inside the tensor that the matrix was made of.
        Self { start: unsafe { self.start.add(row * self.stride + column) }, stride: self.stride }
    }
}

/// `out (+)= scale * a b`, with `a` and `b` given as (matrix, transposed).
pub(crate) fn matmul(out: Matrix, add: bool, a: (Matrix, bool), b: (Matrix, bool), [m, k, n]: [usize; 3], scale: f32) {
    let strides = |(matrix, transposed): (Matrix, bool)| match transposed {
        false => (1, matrix.stride as isize),
        true => (matrix.stride as isize, 1),
    };
    let ((a_column, a_row), (b_column, b_row)) = (strides(a), strides(b));
    // SAFETY: the blocks lie inside their tensors, and no other task writes `out`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.start,
            1,
            out.stride as isize,
            add,
            a.0.start,
            a_column,
            a_row,
            b.0.start,
            b_column,
            b_row,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Rows a task takes at once: enough work to hide the cost of a task, few enough to share them out.
const ROWS_PER_TASK: usize = 16;

/// Calls `work(input_row, output_row)`, which is to be inlined, for each row, in parallel.
pub(crate) fn map_rows(
    input: &[f32],
    input_width: usize,
    output: &mut [f32],
    output_width: usize,
    work: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let inputs = input.par_chunks(input_width * ROWS_PER_TASK);
    output.par_chunks_mut(output_width * ROWS_PER_TASK).zip(inputs).for_each(|(output, input)| {
        vectorised!({
            for (output, input) in output.chunks_exact_mut(output_width).zip(input.chunks_exact(input_width)) {
                work(input, output);
            }
        });
    });
}

/// A reduction in 32 lanes, so that it vectorises.
#[inline(always)]
pub(crate) fn lanes(row: &[f32], start: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 32];
    let chunks = row.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = combine(*lane, *x);
        }
    }
    rest.iter().chain(&lanes).fold(start, |a, b| combine(a, *b))
}

/// e^x within 3e-7 relative for x in [-87, 88], clamped outside. Cody-Waite reduction, Taylor series of degree 7.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits: no branch, no conversion, so it vectorises.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * series);
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * series)));
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// erf(x) within 2e-7: polynomial of degree 18 in x²/8 - 1 for erf(x)/x on |x| <= 4 (Chebyshev fit), constant beyond.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 19] = [
        9.735_197e-5,
        -2.467_088e-4,
        1.583_412e-4,
        -3.243_026_5e-4,
        1.438_018e-3,
        -2.911_839e-3,
        4.746_83e-3,
        -8.382_074e-3,
        1.439_756_8e-2,
        -2.256_359_8e-2,
        3.304_758_6e-2,
        -4.574_400_2e-2,
        5.988_893_5e-2,
        -7.473_054e-2,
        9.020_883_4e-2,
        -1.077_102_9e-1,
        1.316_751_2e-1,
        -1.765_762_4e-1,
        3.535_31e-1,
    ];
    let x = x.clamp(-4.0, 4.0);
    let u = x * x * 0.125 - 1.0;
    let mut sum = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        sum = sum * u + coefficient;
    }
    sum * x
}

/// The GELU of Hendrycks and Gimpel (arXiv 1606.08415), exact form x Φ(x), and its derivative Φ(x) + x φ(x).
#[inline(always)]
pub(crate) fn gelu_and_derivative(x: f32) -> (f32, f32) {
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    let cdf = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    (x * cdf, cdf + x * INV_SQRT_2_PI * exp(-0.5 * x * x))
}
