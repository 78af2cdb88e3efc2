//! What the GPU kernels share: contiguous inputs, outputs of a given shape, launch sizes.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Units of a workgroup: a multiple of every subgroup size, and allowed on every WebGPU adapter.
pub(crate) const UNITS_PER_CUBE: u32 = 64;
/// WebGPU's limit of workgroups along one axis.
const MAX_CUBES_PER_AXIS: u32 = 65_535;

/// A contiguous tensor like `tensor`.
pub(crate) fn contiguous(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor)
}

/// An uninitialised tensor beside `like`.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), dtype)
}

/// The launch size for one unit per item; kernels return early on `ABSOLUTE_POS >= items`.
pub(crate) fn one_unit_per(items: usize) -> (CubeCount, CubeDim) {
    let cubes = (items as u32).div_ceil(UNITS_PER_CUBE).max(1);
    let rows = cubes.div_ceil(MAX_CUBES_PER_AXIS);
    (CubeCount::Static(cubes.div_ceil(rows), rows, 1), CubeDim::new_1d(UNITS_PER_CUBE))
}

/// The launch size for one workgroup per item; kernels return early on `CUBE_POS >= items`.
pub(crate) fn one_cube_per(items: usize) -> (CubeCount, CubeDim) {
    let rows = (items as u32).div_ceil(MAX_CUBES_PER_AXIS).max(1);
    (CubeCount::Static((items as u32).div_ceil(rows).max(1), rows, 1), CubeDim::new_1d(UNITS_PER_CUBE))
}

/// A contiguous tensor that nobody else holds, to be changed in place.
pub(crate) fn exclusive(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// Values of a vector such that `values` of them, one after the other, are whole vectors.
pub(crate) fn vector_size(values: usize) -> usize {
    [4, 2, 1].into_iter().find(|size| values.is_multiple_of(*size)).unwrap_or(1)
}
