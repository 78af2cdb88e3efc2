//! The world of MPI. Calls come from one thread at a time: a run's loop makes them itself, or waits for who makes them.

use anyhow::Context;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::{Universe, initialize_with_threading};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};

use crate::exit::{Coded, Exit};

/// Most values of a sum at once, so that its copy stays small.
const SUM_AT_ONCE: usize = 1 << 20;

/// All processes that were started together. Ends MPI when it goes.
pub struct World(#[allow(dead_code, reason = "MPI is there as long as it is")] Universe);

impl Drop for World {
    /// A rank that panics would wait for the others, which wait for it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort(Exit::Failure);
        }
    }
}

impl World {
    /// Meets the others.
    pub fn join() -> anyhow::Result<Self> {
        let (universe, threading) =
            initialize_with_threading(Threading::Serialized).context("MPI is in use already")?;
        if threading < Threading::Serialized {
            let message = "this MPI allows calls from the main thread alone: take one that gives MPI_THREAD_SERIALIZED";
            return Err(Coded::error(Exit::Usage, message));
        }
        Ok(Self(universe))
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        all().rank() as usize
    }

    /// Processes.
    pub fn size(&self) -> usize {
        all().size() as usize
    }

    /// Replaces values by their sums over all processes.
    pub fn sum<T: Equivalence + Copy + Default>(&self, values: &mut [T]) {
        let mut sums = vec![T::default(); values.len().min(SUM_AT_ONCE)];
        for values in values.chunks_mut(SUM_AT_ONCE) {
            let sums = &mut sums[..values.len()];
            all().all_reduce_into(&*values, sums, SystemOperation::sum());
            values.copy_from_slice(sums);
        }
    }

    /// The largest of all processes' values.
    pub fn max(&self, value: f32) -> f32 {
        let mut largest = value;
        all().all_reduce_into(&value, &mut largest, SystemOperation::max());
        largest
    }

    /// The values of all processes, one after the other.
    pub fn all_gather<T: Equivalence + Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let mut gathered = vec![T::default(); values.len() * self.size()];
        all().all_gather_into(values, &mut gathered[..]);
        gathered
    }

    /// The parts of like size that all processes have for this one, one after the other.
    pub fn all_to_all<T: Equivalence + Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let mut gathered = vec![T::default(); values.len()];
        all().all_to_all_into(values, &mut gathered[..]);
        gathered
    }

    /// Ends all processes; the launcher gives this exit code.
    pub fn abort(&self, exit: Exit) -> ! {
        all().abort(exit as i32)
    }
}

fn all() -> SimpleCommunicator {
    SimpleCommunicator::world()
}
