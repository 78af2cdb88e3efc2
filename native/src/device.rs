//! Where the computation runs: what the user names, what the machine has.

use anaume_core::layers::Precision;
use anyhow::Context;
use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{DType, Device, DeviceKind};
use serde::Serialize;

use crate::exit::{Coded, Exit};
use crate::plan::name;

/// A device as typed: `auto`, `cpu`, `gpu`, or the name of an adapter such as `vulkan:0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A real GPU if there is one, else the CPU. Never a software adapter.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first real GPU.
    Gpu,
    /// The adapter of this name in `anaume devices`.
    Adapter(String),
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_adapter = |text: &str| {
            let (api, index) = text.split_once(':')?;
            (APIS.iter().any(|(name, ..)| *name == api) && index.parse::<usize>().is_ok()).then_some(())
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ if is_adapter(text).is_some() => Ok(Self::Adapter(text.into())),
            _ => Err("expected auto, cpu, gpu, or a name that `anaume devices` lists, such as vulkan:0".into()),
        }
    }
}

/// Graphics interfaces in the order in which they are tried. OpenGL is left out: its compute shaders lack what the kernels use.
const APIS: [(&str, wgpu::Backend, WgpuBackend); 3] = [
    ("vulkan", wgpu::Backend::Vulkan, WgpuBackend::Vulkan),
    ("metal", wgpu::Backend::Metal, WgpuBackend::Metal),
    ("dx12", wgpu::Backend::Dx12, WgpuBackend::Dx12),
];

/// One adapter of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// What `--device` takes.
    pub name: String,
    /// The driver's name of the hardware.
    pub hardware: String,
    /// Driver and its version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Whether shaders may use f16.
    pub f16: bool,
    /// Whether shaders may use subgroup operations.
    pub subgroups: bool,
    /// Largest storage buffer binding, in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Shared memory of a workgroup, in bytes.
    pub max_workgroup_storage_bytes: u32,
    /// How burn finds it; `None` where burn would open another adapter.
    #[serde(skip)]
    selector: Option<(WgpuBackend, DeviceKind)>,
}

impl Adapter {
    fn is_real(&self) -> bool {
        matches!(self.kind, "discrete" | "integrated" | "virtual")
    }
}

/// All adapters, by interface.
pub fn adapters() -> Vec<Adapter> {
    let backends = APIS.iter().fold(wgpu::Backends::empty(), |all, (_, backend, _)| all | (*backend).into());
    let descriptor = wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let instance = wgpu::Instance::new(descriptor);
    let mut all = Vec::new();
    for (api, backend, selector) in APIS {
        let found = pollster::block_on(instance.enumerate_adapters(backend.into()));
        let mut seen = std::collections::BTreeMap::new();
        for (index, adapter) in found.iter().enumerate() {
            let kind = kind_of(adapter.get_info().device_type);
            let rank = seen.entry(kind).and_modify(|count| *count += 1).or_insert(0_usize);
            all.push(describe(adapter, format!("{api}:{index}"), (selector, *rank)));
        }
    }
    all
}

fn kind_of(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

fn describe(adapter: &wgpu::Adapter, name: String, (api, rank): (WgpuBackend, usize)) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let kind = kind_of(info.device_type);
    let device_kind = match (kind, rank) {
        ("discrete", _) => Some(DeviceKind::DiscreteGpu(rank)),
        ("integrated", _) => Some(DeviceKind::IntegratedGpu(rank)),
        ("virtual", _) => Some(DeviceKind::VirtualGpu(rank)),
        // These have no number: the first of its kind is what burn opens.
        ("software", 0) => Some(DeviceKind::Cpu),
        ("other", 0) => Some(DeviceKind::DefaultDevice),
        _ => None,
    };
    Adapter {
        name,
        hardware: info.name,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind,
        f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        max_workgroup_storage_bytes: limits.max_compute_workgroup_storage_size,
        selector: device_kind.map(|kind| (api, kind)),
    }
}

/// A device that is ready, and how to call it in logs.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The device.
    pub device: Device,
    /// Its name for people: `cpu (2 threads)` or an adapter's.
    pub description: String,
}

impl Choice {
    /// Opens the device.
    pub fn open(&self) -> anyhow::Result<Ready> {
        self.open_nth(0)
    }

    /// Opens the device for process `number` of several on this machine: each gets a GPU of its own.
    pub fn open_nth(&self, number: usize) -> anyhow::Result<Ready> {
        let adapters = if *self == Self::Cpu { Vec::new() } else { adapters() };
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Auto | Self::Gpu => match own(&adapters, number)? {
                Some(adapter) => open_adapter(adapter),
                None if *self == Self::Auto => Ok(cpu()),
                None => Err(Coded::error(Exit::Usage, "no GPU found; `anaume devices` lists what there is")),
            },
            Self::Adapter(name) => match adapters.iter().find(|adapter| adapter.name == *name) {
                Some(adapter) => open_adapter(adapter),
                None => {
                    Err(Coded::error(Exit::Usage, format!("no adapter {name}; `anaume devices` lists what there is")))
                }
            },
        }
    }
}

/// The GPU of process `number`: of those that are like the first. A scheduler may show a process one alone.
fn own(adapters: &[Adapter], number: usize) -> anyhow::Result<Option<&Adapter>> {
    let Some(first) = adapters.iter().find(|adapter| adapter.is_real()) else { return Ok(None) };
    let api = |adapter: &Adapter| adapter.name.split(':').next().unwrap_or_default().to_owned();
    let alike: Vec<_> = adapters.iter().filter(|other| other.kind == first.kind && api(other) == api(first)).collect();
    match alike.get(number) {
        _ if alike.len() == 1 => Ok(Some(first)),
        Some(adapter) => Ok(Some(adapter)),
        None => {
            let message = format!(
                "this machine has {} GPUs, and this is process {} on it: start one process a GPU, or take --device cpu",
                alike.len(),
                number + 1
            );
            Err(Coded::error(Exit::Usage, message))
        }
    }
}

fn cpu() -> Ready {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(threads);
    Ready { device: Device::flex(), description: format!("cpu ({threads} threads)") }
}

fn open_adapter(adapter: &Adapter) -> anyhow::Result<Ready> {
    let Some((api, kind)) = adapter.selector.clone() else {
        let message =
            format!("{} ({}) cannot be told from another adapter of its kind", adapter.name, adapter.hardware);
        return Err(Coded::error(Exit::Usage, message));
    };
    let device = Device::wgpu_options()
        .graphics_api(api)
        .device_kind(kind)
        .init()
        .with_context(|| format!("cannot open {} ({})", adapter.name, adapter.hardware))?;
    Ok(Ready { device, description: format!("{} ({})", adapter.name, adapter.hardware) })
}

/// Fails where the device cannot compute in the wanted precision.
pub fn check_precision(device: &Device, precision: Precision) -> anyhow::Result<()> {
    let dtype = match precision {
        Precision::F32 => return Ok(()),
        Precision::F16 => DType::F16,
        Precision::BF16 => DType::BF16,
    };
    match device.supports_dtype(dtype) {
        true => Ok(()),
        false => Err(Coded::error(Exit::Usage, format!("this device has no {}; take f32", name(precision)))),
    }
}

/// How a model computes where it is not trained.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Inference {
    /// What the matrix products take: f32, f16 or bf16 (processors: rounded to bf16, summed in f32)
    #[arg(long, default_value = "f32")]
    pub precision: Precision,
}

impl Inference {
    /// Opens a device that has the precision.
    pub fn open(self, device: &Choice) -> anyhow::Result<Ready> {
        let ready = device.open()?;
        check_precision(&ready.device, self.precision)?;
        Ok(ready)
    }
}

/// `anaume devices`.
pub fn run(json: bool) -> anyhow::Result<()> {
    let adapters = adapters();
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "adapters": adapters }))?);
        return Ok(());
    }
    println!("cpu        always there; {}", cpu().description);
    for adapter in &adapters {
        println!(
            "{:<10} {} [{}], {}, f16 {}, subgroups {}, binding {} MiB, buffer {} MiB, workgroup memory {} KiB",
            adapter.name,
            adapter.hardware,
            adapter.kind,
            adapter.driver,
            if adapter.f16 { "yes" } else { "no" },
            if adapter.subgroups { "yes" } else { "no" },
            adapter.max_binding_bytes >> 20,
            adapter.max_buffer_bytes >> 20,
            adapter.max_workgroup_storage_bytes >> 10,
        );
    }
    if !adapters.iter().any(Adapter::is_real) {
        println!("no real GPU: `--device auto` means cpu; a software adapter is used only when named");
    }
    Ok(())
}
