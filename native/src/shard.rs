//! Which part of a job this process does: nothing is shared with those that do the others.

use crate::exit::{Coded, Exit};

/// A part of a job.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct ShardArgs {
    /// Which part to do, from 0 [default with --num-shards: SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX]
    #[arg(long, value_name = "N", requires = "num_shards")]
    pub shard_index: Option<usize>,
    /// Parts of the whole
    #[arg(long, value_name = "N")]
    pub num_shards: Option<usize>,
}

impl ShardArgs {
    /// Number of the part and of all parts; the whole where no number of parts is given.
    pub fn resolve(self) -> anyhow::Result<(usize, usize)> {
        self.resolve_with(|name| std::env::var(name).ok().and_then(|value| value.parse().ok()))
    }

    fn resolve_with(self, number: impl Fn(&str) -> Option<usize>) -> anyhow::Result<(usize, usize)> {
        // An array job may have another purpose than parts of this: its variables alone mean nothing.
        let Some(count) = self.num_shards else { return Ok((0, 1)) };
        let scheduled = || number("SLURM_ARRAY_TASK_ID").or_else(|| number("JOB_COMPLETION_INDEX"));
        match self.shard_index.or_else(scheduled) {
            Some(index) if index < count => Ok((index, count)),
            Some(index) => {
                let message = format!("--shard-index {index} of {count} parts: parts are counted from 0");
                Err(Coded::error(Exit::Usage, message))
            }
            None => Err(Coded::error(Exit::Usage, format!("which of {count} parts? give --shard-index"))),
        }
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
    fn arguments_come_before_the_variables_of_schedulers_which_mean_nothing_alone() {
        let slurm = [("SLURM_ARRAY_TASK_MIN", 1), ("SLURM_ARRAY_TASK_ID", 3), ("SLURM_ARRAY_TASK_COUNT", 1)];
        let kubernetes = [("JOB_COMPLETION_INDEX", 4)];
        assert_eq!(resolved(None, None, &[]), Some((0, 1)));
        assert_eq!(resolved(None, None, &slurm), Some((0, 1)));
        assert_eq!(resolved(None, Some(8), &slurm), Some((3, 8)));
        assert_eq!(resolved(None, Some(5), &kubernetes), Some((4, 5)));
        assert_eq!(resolved(Some(1), Some(2), &slurm), Some((1, 2)));
        assert_eq!(resolved(Some(2), Some(2), &[]), None);
        assert_eq!(resolved(None, Some(3), &slurm), None);
        assert_eq!(resolved(None, Some(2), &[]), None);
    }
}
