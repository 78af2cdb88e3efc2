//! `anaume launch`: what starts a training run on several devices and machines, as a script or manifest.

use clap::Parser;

use crate::cli::Cli;
use crate::exit::{Coded, Exit};

/// Arguments of `anaume launch`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What starts the ranks
    pub launcher: Launcher,
    /// Machines
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub nodes: u32,
    /// GPUs of each machine, with a rank each
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub gpus: u32,
    /// Cores of each rank (slurm)
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub cpus: u32,
    /// Name of the job
    #[arg(long, default_value = "anaume", value_parser = name)]
    pub name: String,
    /// Longest time that the job gets at once (slurm): [days-]hours:minutes:seconds
    #[arg(long, default_value = "24:00:00", value_parser = time)]
    pub time: String,
    /// Container image with the program and Open MPI (kubernetes)
    #[arg(long, default_value = "anaume:mpi", value_parser = word)]
    pub image: String,
    /// Persistent volume claim with data, model and run folder (kubernetes)
    #[arg(long, default_value = "anaume", value_parser = name)]
    pub claim: String,
    /// What a pod asks for to get a GPU (kubernetes)
    #[arg(long, default_value = "nvidia.com/gpu", value_parser = word)]
    pub resource: String,
    /// Arguments of `anaume pretrain`
    #[arg(last = true, required = true, value_name = "PRETRAIN ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// What starts ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Launcher {
    /// A batch script for sbatch
    Slurm,
    /// A manifest for the MPI operator of Kubeflow
    Kubernetes,
    /// A script that calls mpirun of Open MPI
    Mpirun,
}

/// What a script or manifest holds as it stands.
fn word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits and -_./:@+ alone".into()),
    }
}

/// A name as Kubernetes takes it (a label of RFC 1035), with room for what the operator adds.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-');
    match text.len() <= 50 && ends && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("small letters, digits and hyphens, a letter first, at most 50".into()),
    }
}

fn time(text: &str) -> Result<String, String> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let parts: Vec<&str> = clock.split(':').collect();
    let number = |part: &&str| !part.is_empty() && part.len() <= 4 && part.chars().all(|c| c.is_ascii_digit());
    match parts.len() == 3 && parts.iter().chain([&days]).all(number) {
        true => Ok(text.to_owned()),
        false => Err("[days-]hours:minutes:seconds".into()),
    }
}

/// `anaume launch`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    print!("{}", text(args)?);
    Ok(())
}

/// The script or manifest.
pub fn text(args: &Args) -> anyhow::Result<String> {
    let mut pretrain = args.arguments.clone();
    if pretrain.first().is_some_and(|first| first == "pretrain") {
        pretrain.remove(0);
    }
    // A job that starts again goes on, and one that starts takes it for nothing.
    if !pretrain.iter().any(|argument| argument == "--resume" || argument.starts_with("--resume=")) {
        pretrain.push("--resume".into());
    }
    if let Some(odd) = pretrain.iter().find(|argument| argument.contains(char::is_control)) {
        return Err(Coded::error(Exit::Usage, format!("{odd:?} holds a control character: no script is made of it")));
    }
    let words = ["anaume", "pretrain"].into_iter().chain(pretrain.iter().map(String::as_str));
    if let Err(cause) = Cli::try_parse_from(words) {
        let said = cause.to_string();
        // Without the word that the program begins errors with itself.
        let reason = said.split_once(": ").map_or(said.as_str(), |(_, reason)| reason).trim_end();
        return Err(Coded::error(Exit::Usage, reason));
    }
    let script = fill(include_str!("../launch/mpirun.sh"), args, &pretrain);
    Ok(match args.launcher {
        Launcher::Mpirun => script,
        Launcher::Slurm => fill(include_str!("../launch/slurm.sh"), args, &pretrain),
        Launcher::Kubernetes => {
            let indented: Vec<String> =
                script.lines().map(|line| format!("{:18}{line}", "").trim_end().to_owned()).collect();
            let manifest = fill(include_str!("../launch/kubernetes.yaml"), args, &pretrain);
            manifest.replace("@SCRIPT@", &indented.join("\n"))
        }
    })
}

fn fill(template: &str, args: &Args, pretrain: &[String]) -> String {
    let arguments: Vec<String> = pretrain.iter().map(|argument| quoted(argument)).collect();
    let ranks = u64::from(args.nodes) * u64::from(args.gpus);
    let holes = [
        ("@NODES@", args.nodes.to_string()),
        ("@GPUS@", args.gpus.to_string()),
        ("@RANKS@", ranks.to_string()),
        ("@CPUS@", args.cpus.to_string()),
        ("@NAME@", args.name.clone()),
        ("@TIME@", args.time.clone()),
        ("@IMAGE@", args.image.clone()),
        ("@CLAIM@", args.claim.clone()),
        ("@RESOURCE@", args.resource.clone()),
        // Last: nothing is looked for inside them.
        ("@ARGUMENTS@", arguments.join(" ")),
    ];
    holes.iter().fold(template.to_owned(), |text, (hole, value)| text.replace(hole, value))
}

/// An argument for a shell.
fn quoted(argument: &str) -> String {
    match argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@+=,".contains(c)) {
        true if !argument.is_empty() => argument.to_owned(),
        _ => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_program_as_they_were_given() {
        for argument in ["plain", "", "two words", "it's", "$HOME", "`id`", "日本語", "a\\b", "--set=optim.lr=1e-3"]
        {
            assert_eq!(shlex::split(&quoted(argument)), Some(vec![argument.to_owned()]));
        }
    }

    #[test]
    fn names_and_times_are_those_of_the_schedulers() {
        assert!(["a", "anaume-2"].iter().all(|text| name(text).is_ok()));
        assert!(["", "0", "-a", "a-", "A", "a_b", "a\nb", &"a".repeat(51)].iter().all(|text| name(text).is_err()));
        assert!(["24:00:00", "2-12:30:00", "0:10:00"].iter().all(|text| time(text).is_ok()));
        assert!(["", "24", "1:2", "1:2:3:4", "a:b:c", "1-2", "1:2:3\n"].iter().all(|text| time(text).is_err()));
        assert!(word("ghcr.io/org/image:tag").is_ok() && word("a b").is_err() && word("").is_err());
    }
}
