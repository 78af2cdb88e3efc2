//! Which part of a job this process does: nothing is shared with those that do the others.

use crate::exit::{Coded, Exit};

/// A part of a job.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct ShardArgs {
    /// Which part to do, from 0 [default: SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or 0]
    #[arg(long, value_name = "N")]
    pub shard_index: Option<usize>,
    /// Parts of the whole [default: SLURM_ARRAY_TASK_COUNT, JOB_COMPLETIONS or 1]
    #[arg(long, value_name = "N")]
    pub num_shards: Option<usize>,
}

impl ShardArgs {
    /// Number of the part and of all parts, from the arguments or from the scheduler's variables.
    pub fn resolve(self) -> anyhow::Result<(usize, usize)> {
        self.resolve_with(|name| std::env::var(name).ok().and_then(|value| value.parse().ok()))
    }

    fn resolve_with(self, number: impl Fn(&str) -> Option<usize>) -> anyhow::Result<(usize, usize)> {
        let first = number("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
        let slurm = number("SLURM_ARRAY_TASK_ID").map(|id| id.saturating_sub(first));
        let index = self.shard_index.or(slurm).or_else(|| number("JOB_COMPLETION_INDEX")).unwrap_or(0);
        let count = self.num_shards.or_else(|| number("SLURM_ARRAY_TASK_COUNT")).or_else(|| number("JOB_COMPLETIONS"));
        let count = count.unwrap_or(1);
        if index >= count {
            let message = format!("--shard-index {index} of {count} parts: parts are counted from 0");
            return Err(Coded::error(Exit::Usage, message));
        }
        Ok((index, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(index: Option<usize>, count: Option<usize>, variables: &[(&str, usize)]) -> Option<(usize, usize)> {
        let args = ShardArgs { shard_index: index, num_shards: count };
        let number = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        args.resolve_with(number).ok()
    }

    #[test]
    fn arguments_come_before_the_variables_of_schedulers() {
        let slurm = [("SLURM_ARRAY_TASK_MIN", 1), ("SLURM_ARRAY_TASK_ID", 3), ("SLURM_ARRAY_TASK_COUNT", 8)];
        let kubernetes = [("JOB_COMPLETION_INDEX", 4), ("JOB_COMPLETIONS", 5)];
        assert_eq!(resolved(None, None, &[]), Some((0, 1)));
        assert_eq!(resolved(None, None, &slurm), Some((2, 8)));
        assert_eq!(resolved(None, None, &kubernetes), Some((4, 5)));
        assert_eq!(resolved(Some(1), Some(2), &slurm), Some((1, 2)));
        assert_eq!(resolved(Some(2), Some(2), &[]), None);
    }
}
