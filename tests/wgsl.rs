//! The WGSL of the page: what lies in `shaders/wgsl` is what CubeCL makes of the kernels, and every browser takes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::shaders::{
    Case, TOLERANCE, attention_case, cross_entropy_case, geglu_case, labels, layer_norm_case, residual_case, rope_case,
};
use anaume_core::config::ModelConfig;
use anaume_shaders::cross_entropy::{cross_entropy, cross_entropy_reference};
use anaume_tests::{assert_close, matrix, read, skip};
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{DType, Device};
use wgpu::naga;

/// Takes down the WGSL that cubecl makes for the one device that is opened here.
struct Recorder(Mutex<Vec<String>>);

static RECORDER: Recorder = Recorder(Mutex::new(Vec::new()));

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        // cubecl names a device's thread after its kind: 5 is a device that was handed to it.
        let is_own = |name: &str| name.split('-').nth(1) == Some("5");
        metadata.target() == "cubecl_wgpu::backend::base" && std::thread::current().name().is_some_and(is_own)
    }

    fn log(&self, record: &log::Record) {
        let text = if self.enabled(record.metadata()) { record.args().to_string() } else { return };
        if let Some((_, source)) = text.split_once('\n').filter(|(title, _)| title.contains("compiling WGSL module")) {
            self.0.lock().unwrap().push(source.to_owned());
        }
    }

    fn flush(&self) {}
}

/// The kernel as cubecl makes it in a browser. There it declares storage that is only read as such, and the hash at the end of the
/// entry point's name is another one, since addresses have 32 bits.
fn in_a_browser(source: &str) -> String {
    let (before, after) = source.split_once("\nfn ").expect("a kernel has an entry point");
    let (name, rest) = after.split_once('(').expect("with parameters");
    let (name, _) = name.rsplit_once('_').expect("and a name with a hash");
    let source = format!("{}\nfn {name}({}\n", before.trim(), rest.trim());
    let (module, info) = validated(&source).unwrap_or_else(|why| panic!("{why}"));
    let only_read = module
        .global_variables
        .iter()
        .filter(|(variable, _)| !info.get_entry_point(0)[*variable].contains(naga::valid::GlobalUse::WRITE));
    only_read.filter_map(|(_, variable)| variable.name.as_ref()).fold(source, |source, name| {
        source.replace(&format!("var<storage, read_write> {name}:"), &format!("var<storage, read> {name}:"))
    })
}

/// A kernel that uses nothing but what WebGPU guarantees, or what is wrong with it.
fn validated(source: &str) -> Result<(naga::Module, naga::valid::ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut validator = naga::valid::Validator::new(Default::default(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(source))?;
    Ok((module, info))
}

/// A device that has what WebGPU guarantees and nothing else.
fn least_device() -> Option<Device> {
    let backends = wgpu::Backends::PRIMARY;
    let descriptor = wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).ok()?;
    // No feature, and the limits of the standard.
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).ok()?;
    let backend = adapter.get_info().backend;
    Device::wgpu_options().setup(WgpuSetup { instance, adapter, device, queue, backend }).init().ok()
}

/// What a file is called, and the operation that runs its kernel in the sizes of the page's own model.
fn operations() -> Vec<(&'static str, Case)> {
    let config = fs::read(root().join("public/models/anaume-ja-mini/config.json")).unwrap();
    let config = ModelConfig::from_json(&config).unwrap();
    let (t, d, heads) = (70, config.hidden_size, config.num_attention_heads);
    let v = config.vocab_size;
    let losses = Case {
        fused: Box::new(move |x| cross_entropy(x[0].clone(), labels(3, v, &x[0].device()))),
        reference: Box::new(move |x| cross_entropy_reference(x[0].clone(), labels(3, v, &x[0].device()))),
        ..cross_entropy_case(3, v, 5)
    };
    vec![
        ("attention", attention_case(&[40, t - 40], heads, d / heads, config.local_attention / 2, 1)),
        ("cross_entropy", losses),
        ("geglu", geglu_case(t, config.intermediate_size, 2)),
        ("layer_norm", layer_norm_case(t, d, 3)),
        ("residual", residual_case(t, d, DType::F32, 4)),
        ("rope", rope_case(t, heads, d / heads, 6)),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn folder() -> PathBuf {
    root().join("shaders/wgsl")
}

#[test]
fn the_committed_wgsl_is_what_the_kernels_become_and_agrees_within_the_limits_of_every_browser() {
    let Some(device) = least_device() else {
        skip("no wgpu adapter");
        return;
    };
    log::set_logger(&RECORDER).expect("nothing else logs");
    log::set_max_level(log::LevelFilter::Trace);
    for (name, case) in operations() {
        let on = |device: &Device| -> Vec<_> {
            case.inputs.iter().map(|(values, shape)| matrix(values, *shape, device)).collect()
        };
        let expected = read((case.reference)(&on(&Device::flex())));
        assert_close(&case.name, &read((case.fused)(&on(&device))), &expected, TOLERANCE);
        let compiled = std::mem::take(&mut *RECORDER.0.lock().unwrap());
        // A copy comes first where an operation in place leaves its input alone.
        let source = in_a_browser(compiled.last().expect("a kernel was compiled"));
        let path = folder().join(format!("{name}.wgsl"));
        if std::env::var_os("ANAUME_BLESS").is_some() {
            fs::write(&path, &source).unwrap();
        }
        let hint = "changed; write it anew: ANAUME_BLESS=1 tests/all.sh wgsl";
        assert!(fs::read_to_string(&path).is_ok_and(|committed| committed == source), "{} {hint}", path.display());
    }
}

/// Whether a browser that has nothing but what WebGPU guarantees takes a kernel, or why it does not.
fn accepted(source: &str) -> Result<(), String> {
    let (module, _) = validated(source)?;
    let limits = wgpu::Limits::default();
    let [entry] = &module.entry_points[..] else { return Err("not one entry point".into()) };
    let [x, y, z] = entry.workgroup_size;
    let variables = |space: fn(naga::AddressSpace) -> bool| {
        module.global_variables.iter().filter(move |(_, variable)| space(variable.space))
    };
    let size = |(_, variable): (_, &naga::GlobalVariable)| module.types[variable.ty].inner.size(module.to_ctx());
    let buffers = variables(|space| matches!(space, naga::AddressSpace::Storage { .. })).count();
    let shared =
        variables(|space| space == naga::AddressSpace::WorkGroup).map(|variable| size(variable).next_multiple_of(16));
    let reached = [
        ("units", x * y * z, limits.max_compute_invocations_per_workgroup),
        ("units along x", x, limits.max_compute_workgroup_size_x),
        ("units along y", y, limits.max_compute_workgroup_size_y),
        ("units along z", z, limits.max_compute_workgroup_size_z),
        ("storage buffers", buffers as u32, limits.max_storage_buffers_per_shader_stage),
        ("bytes of workgroup memory", shared.sum(), limits.max_compute_workgroup_storage_size),
    ];
    match reached.iter().find(|(_, reached, limit)| reached > limit) {
        Some((what, reached, limit)) => Err(format!("{reached} {what}, and a browser may have {limit}")),
        None => Ok(()),
    }
}

#[test]
fn every_browser_takes_the_committed_wgsl() {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
            accepted(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        }
    }
    names.sort_unstable();
    assert_eq!(names, operations().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn what_a_browser_may_lack_is_refused() {
    let kernel = |head: &str, units: u32, body: &str| {
        format!(
            "{head}\n@compute @workgroup_size({units})\nfn kernel(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        )
    };
    let shared = |floats| format!("var<workgroup> shared_values: array<f32, {floats}>;");
    let buffers = |count| -> String {
        (0..count).map(|i| format!("@group(0) @binding({i}) var<storage> b{i}: array<f32>;")).collect()
    };
    assert_eq!(accepted(&kernel(&(shared(4096) + &buffers(8)), 256, "shared_values[i] = b0[i];")), Ok(()));
    for (head, units, body) in [
        ("", 257, ""),
        ("", 64, "let x = y;"),
        ("enable f16;", 64, "let x = f16(1.0);"),
        ("", 64, "let x = subgroupAdd(i);"),
        (&shared(4097), 64, "shared_values[i] = 1.0;"),
        (&buffers(9), 64, ""),
    ] {
        assert!(accepted(&kernel(head, units, body)).is_err(), "{head} {units} {body}");
    }
}
