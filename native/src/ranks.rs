//! The processes of a training run: which one this is, and what they tell each other. One process is a run too.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde_json::Value;

use crate::exit::{Coded, Exit, code_of};
use launched::launched;

#[cfg(not(feature = "mpi"))]
mod alone;
mod launched;
#[cfg(feature = "mpi")]
mod mpi;

#[cfg(not(feature = "mpi"))]
use alone::World;
#[cfg(feature = "mpi")]
use mpi::World;

/// The ranks of a run.
pub struct Ranks {
    /// Number of this one, from 0. Rank 0 writes.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Number of this one on its machine, from 0.
    pub local_rank: usize,
    /// Ranks on this machine.
    pub local_size: usize,
    hosts: Vec<String>,
    /// None of a process that no launcher started.
    world: Option<World>,
    /// Whether all ranks know how it ends.
    agreed: AtomicBool,
}

impl Ranks {
    /// Meets the ranks that a launcher started beside this process; without a launcher there are no others.
    pub fn join() -> anyhow::Result<Self> {
        let Some(place) = launched(|name| std::env::var(name).ok())? else { return Ok(Self::alone()) };
        let world = World::join()?;
        let (rank, size) = (world.rank(), world.size());
        if (rank, size) != (place.rank, place.size) {
            let reason = match cfg!(feature = "mpi") {
                true => format!("MPI says rank {rank} of {size}: start it with mpirun, or with srun --mpi=pmix"),
                false => {
                    "this program was built without MPI: each process would train alone. Build it with --features mpi"
                        .to_owned()
                }
            };
            return Err(Coded::error(Exit::Usage, format!("{place}, and {reason}")));
        }
        let mut ranks = Self {
            rank,
            size,
            local_rank: 0,
            local_size: 1,
            hosts: Vec::new(),
            world: Some(world),
            agreed: AtomicBool::new(false),
        };
        ranks.hosts = ranks.all_say(&host_name())?;
        let beside = |hosts: &[String]| hosts.iter().filter(|host| **host == ranks.hosts[rank]).count();
        (ranks.local_rank, ranks.local_size) =
            (place.local_rank.unwrap_or_else(|| beside(&ranks.hosts[..rank])), beside(&ranks.hosts));
        Ok(ranks)
    }

    /// This process and no other.
    pub fn alone() -> Self {
        let (hosts, agreed) = (vec![host_name()], AtomicBool::new(false));
        Self { rank: 0, size: 1, local_rank: 0, local_size: 1, hosts, world: None, agreed }
    }

    /// Whether this is the one that writes and speaks.
    pub fn is_root(&self) -> bool {
        self.rank == 0
    }

    /// Waits for all; returns what each says, in the order of the ranks.
    pub fn all_say(&self, text: &str) -> anyhow::Result<Vec<String>> {
        let Some(world) = &self.world else { return Ok(vec![text.to_owned()]) };
        let lengths = world.all_gather(&[text.len() as u64]);
        let longest = lengths.iter().copied().max().unwrap_or_default() as usize;
        // Never empty: MPI takes no buffer of nothing.
        let width = longest + 1;
        let mut padded = text.as_bytes().to_vec();
        padded.resize(width, 0);
        let texts = world.all_gather(&padded);
        let texts = texts.chunks(width).zip(lengths);
        texts
            .map(|(text, length)| String::from_utf8(text[..length as usize].to_vec()).context("a rank says no text"))
            .collect()
    }

    /// Waits for all; what rank 0 says.
    pub fn root_says(&self, text: String) -> anyhow::Result<String> {
        Ok(self.all_say(&text)?.swap_remove(0))
    }

    /// Waits for all; the least of what they give.
    pub fn least(&self, number: u64) -> anyhow::Result<u64> {
        let all = self.all_say(&number.to_string())?;
        Ok(all.iter().filter_map(|number| number.parse().ok()).min().unwrap_or(number))
    }

    /// Waits for all; fails on all where one failed, with what it says.
    pub fn all_fine<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        if self.size == 1 || !self.any(result.is_err()) {
            return result;
        }
        let exit = result.as_ref().err().map(code_of);
        let said = self.all_say(&serde_json::json!([exit.map(|exit| exit as u8), text_of(&result)]).to_string())?;
        let said = said.iter().map(|text| serde_json::from_str::<(Option<u8>, String)>(text));
        let said = said.collect::<Result<Vec<_>, _>>()?;
        let failed = said.into_iter().enumerate().find_map(|(rank, (code, text))| Some((rank, code?, text)));
        let (rank, code, text) = failed.context("a rank failed and says nothing")?;
        let message = format!("rank {rank} of {} ({}): {text}", self.size, self.hosts[rank]);
        Err(self.agreed(Coded::error(Exit::of(code), message)))
    }

    /// Waits for all; whether any says yes.
    pub fn any(&self, yes: bool) -> bool {
        let mut sum = [i64::from(yes)];
        self.sum_i64(&mut sum);
        sum[0] > 0
    }

    /// Replaces values by their sums over all ranks. The order of the sum does not matter.
    pub fn sum_i64(&self, values: &mut [i64]) {
        self.world.iter().for_each(|world| world.sum(values));
    }

    /// Replaces values by their sums over all ranks, in any order.
    pub fn sum_f64(&self, values: &mut [f64]) {
        self.world.iter().for_each(|world| world.sum(values));
    }

    /// Replaces values by their sums over all ranks, in any order.
    pub fn sum_f32(&self, values: &mut [f32]) {
        self.world.iter().for_each(|world| world.sum(values));
    }

    /// The largest of all ranks' values.
    pub fn max(&self, value: f32) -> f32 {
        self.world.as_ref().map_or(value, |world| world.max(value))
    }

    /// The values of all ranks, which are of like number, one after the other.
    pub fn all_gather_f32(&self, values: &[f32]) -> Vec<f32> {
        self.world.as_ref().map_or_else(|| values.to_vec(), |world| world.all_gather(values))
    }

    /// The values of all ranks, which are of like number, one after the other.
    pub fn all_gather_u16(&self, values: &[u16]) -> Vec<u16> {
        self.world.as_ref().map_or_else(|| values.to_vec(), |world| world.all_gather(values))
    }

    /// Of values in as many parts as there are ranks: the parts that all have for this one, one after the other.
    pub fn all_to_all_u16(&self, values: &[u16]) -> Vec<u16> {
        self.world.as_ref().map_or_else(|| values.to_vec(), |world| world.all_to_all(values))
    }

    /// Fails, on all ranks, where one has other facts than rank 0, and names which.
    pub fn require_same(&self, facts: &Value) -> anyhow::Result<()> {
        let all = self.all_say(&facts.to_string())?;
        let all: Vec<Value> = all.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?;
        let mut differences = Vec::new();
        for (rank, facts) in all.iter().enumerate() {
            for (name, here, there) in differences_of(facts, &all[0]) {
                let (host, root) = (&self.hosts[rank], &self.hosts[0]);
                differences.push(format!("{name} is {here} on rank {rank} ({host}) and {there} on rank 0 ({root})"));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        differences.truncate(10);
        let differences = differences.join("; ");
        let message = format!(
            "the ranks are not of one run: {differences}. Start all with the same program, arguments and files"
        );
        Err(self.agreed(Coded::error(Exit::Usage, message)))
    }

    /// Marks an error that all ranks come to at the same place, so that each ends by itself.
    pub fn agreed(&self, error: anyhow::Error) -> anyhow::Error {
        self.agreed.store(true, Ordering::Relaxed);
        error
    }

    /// Takes back that all ranks know.
    pub fn alone_with_error(&self) {
        self.agreed.store(false, Ordering::Relaxed);
    }

    /// Whether all ranks have come to the error that ends this one, or there are no others.
    pub fn all_know(&self) -> bool {
        self.size == 1 || self.agreed.load(Ordering::Relaxed)
    }

    /// Ends this rank's part. An error that the others do not know of ends them too, with its exit code; of one that all know of,
    /// rank 0 speaks.
    pub fn conclude<T>(mut self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        let Err(error) = result else { return result };
        let Some(world) = self.world.take().filter(|_| self.size > 1) else { return Err(error) };
        let exit = code_of(&error);
        if !self.agreed.load(Ordering::Relaxed) {
            let error = error.context(format!("rank {} of {} ({})", self.rank, self.size, self.hosts[self.rank]));
            eprintln!("error: {error:#}");
            world.abort(exit);
        }
        // Before any rank ends: a launcher may end the others when one gives an exit code.
        if self.is_root() {
            eprintln!("error: {error:#}");
        }
        // Ends MPI, which waits for the others.
        drop(world);
        std::process::exit(exit as i32)
    }
}

fn text_of<T>(result: &anyhow::Result<T>) -> String {
    result.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default()
}

fn host_name() -> String {
    sysinfo::System::host_name().unwrap_or_default()
}

/// Names of what differs, here and there.
fn differences_of(here: &Value, there: &Value) -> Vec<(String, Value, Value)> {
    if here == there {
        return Vec::new();
    }
    let (Value::Object(ours), Value::Object(theirs)) = (here, there) else {
        return vec![(String::new(), here.clone(), there.clone())];
    };
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        for (inner, here, there) in differences_of(&here[name], &there[name]) {
            let path = if inner.is_empty() { name.clone() } else { format!("{name}.{inner}") };
            differences.push((path, here, there));
        }
    }
    differences
}
