//! The kernels of Anaume, one file each; those of attention, which are long, in a folder.
//!
//! A file holds the operation's trait with its autodiff rule, the CPU twin (plain loops on flex), the GPU kernel (CubeCL, which
//! gives WGSL, SPIR-V, MSL, CUDA and HIP) and `…_reference`, the same thing composed of tensor operations.
//! Tests hold the three against each other, forward and gradients.
//!
//! Legend of the shape suffixes: `t` tokens of all packed sequences, `d` hidden size, `i` intermediate size, `m` masked tokens,
//! `v` vocabulary, `h` heads, `k` head size.

#![cfg_attr(feature = "wgpu", expect(clippy::needless_range_loop, reason = "a kernel has no iterators"))]

pub mod adamw;
pub mod attention;
pub mod clip;
pub mod cross_entropy;
pub mod embedding;
pub mod geglu;
pub mod layer_norm;
pub mod linear;
pub mod linear_f16;
pub mod residual;
pub mod rope;

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(feature = "wgpu")]
mod reduce;
#[cfg(feature = "wgpu")]
mod tile;
