//! What launchers say of a process through its environment: which rank of how many it is.

use anyhow::Context;

use crate::exit::{Coded, Exit};

/// A process's place among those that were started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Who says so.
    pub by: &'static str,
    /// Number of the process, from 0.
    pub rank: usize,
    /// Processes in all.
    pub size: usize,
    /// Number of the process on its machine, from 0, where that is said.
    pub local_rank: Option<usize>,
}

/// The name of a launcher, and its variables for rank, size and local rank. The first that is there started the process.
const LAUNCHERS: [(&str, [&str; 3]); 4] = [
    ("Open MPI", ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"]),
    ("PMI", ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"]),
    // The size of the step, not of the job: a batch script is one process, whatever it asked for.
    (SLURM, ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"]),
    ("torchrun", ["RANK", "WORLD_SIZE", "LOCAL_RANK"]),
];
const SLURM: &str = "SLURM";

/// The process's place as its environment has it, or `None` where no launcher left anything. Errors: half of a launcher's variables,
/// values that are no places, launchers that contradict each other.
pub fn launched(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Launched>> {
    let mut first: Option<Launched> = None;
    for (by, names) in LAUNCHERS {
        let Some(place) = place(by, names, &variable)? else { continue };
        match first {
            None => first = Some(place),
            // Inside a job of SLURM, mpirun has started one of its daemons on each machine: SLURM counts these.
            Some(_) if by == SLURM => {}
            Some(known) if known.agrees_with(&place) => {}
            Some(known) => {
                let message =
                    format!("{known}, and {place}: unset the variables of the one that did not start this process");
                return Err(Coded::error(Exit::Usage, message));
            }
        }
    }
    Ok(first)
}

fn place(
    by: &'static str,
    names: [&'static str; 3],
    variable: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<Launched>> {
    let number = |name: &str| -> anyhow::Result<Option<usize>> {
        let Some(text) = variable(name) else { return Ok(None) };
        let number = text.parse().with_context(|| format!("{name} is `{text}`"));
        number.map(Some).map_err(|cause| Coded::error(Exit::Usage, format!("{cause:#}")))
    };
    let [rank_name, size_name, local_name] = names;
    match (number(rank_name)?, number(size_name)?) {
        (None, None) => Ok(None),
        (Some(rank), Some(size)) if rank < size => {
            Ok(Some(Launched { by, rank, size, local_rank: number(local_name)? }))
        }
        (Some(rank), Some(size)) => {
            let message = format!("{rank_name} is {rank} and {size_name} is {size}: ranks are counted from 0");
            Err(Coded::error(Exit::Usage, message))
        }
        // A batch script has a number and is no step.
        _ if by == SLURM => Ok(None),
        (rank, _) => {
            let (there, missing) = if rank.is_some() { (rank_name, size_name) } else { (size_name, rank_name) };
            Err(Coded::error(Exit::Usage, format!("{there} is set and {missing} is not: set both or unset both")))
        }
    }
}

impl Launched {
    fn agrees_with(&self, other: &Self) -> bool {
        let local = self.local_rank.zip(other.local_rank);
        (self.rank, self.size) == (other.rank, other.size) && local.is_none_or(|(a, b)| a == b)
    }
}

impl std::fmt::Display for Launched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} says rank {} of {}", self.by, self.rank, self.size)?;
        self.local_rank.map_or(Ok(()), |local| write!(f, " (the {local}. of its machine)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Launched>, String> {
        launched(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
            .map_err(|error| error.to_string())
    }

    fn says(variables: &[(&str, &str)], words: &[&str]) {
        let message = read(variables).expect_err("it is refused");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }

    #[test]
    fn every_launcher_is_read() {
        assert_eq!(read(&[]), Ok(None));
        for (by, [rank, size, local]) in LAUNCHERS {
            let place = Launched { by, rank: 5, size: 8, local_rank: None };
            assert_eq!(read(&[(rank, "5"), (size, "8")]), Ok(Some(place)));
            let place = Launched { local_rank: Some(1), ..place };
            assert_eq!(read(&[(rank, "5"), (size, "8"), (local, "1")]), Ok(Some(place)));
        }
    }

    #[test]
    fn a_batch_script_of_slurm_is_no_rank() {
        assert_eq!(read(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]), Ok(None));
    }

    #[test]
    fn what_is_half_or_no_place_is_refused_by_name() {
        says(&[("PMI_RANK", "0")], &["PMI_RANK is set", "PMI_SIZE is not"]);
        says(&[("WORLD_SIZE", "2")], &["WORLD_SIZE is set", "RANK is not"]);
        says(&[("RANK", "one"), ("WORLD_SIZE", "2")], &["RANK is `one`"]);
        says(&[("RANK", "2"), ("WORLD_SIZE", "2")], &["RANK is 2", "WORLD_SIZE is 2"]);
    }

    #[test]
    fn launchers_that_contradict_each_other_are_refused_but_for_slurms_daemons() {
        let open_mpi = [("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")];
        let with = |more: &[(&'static str, &'static str)]| [&open_mpi[..], more].concat();
        says(&with(&[("RANK", "0"), ("WORLD_SIZE", "4")]), &["Open MPI says rank 3 of 4", "torchrun says rank 0 of 4"]);
        says(
            &with(&[("OMPI_COMM_WORLD_LOCAL_RANK", "1"), ("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")]),
            &["the 1. of its machine", "the 3. of its machine"],
        );
        let place = Launched { by: "Open MPI", rank: 3, size: 4, local_rank: None };
        assert_eq!(read(&with(&[("PMI_RANK", "3"), ("PMI_SIZE", "4")])), Ok(Some(place)));
        assert_eq!(read(&with(&[("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "2")])), Ok(Some(place)));
    }
}
