#!/usr/bin/env bash
# Trains on @NODES@ × @GPUS@ ranks, one a GPU: sbatch train.sh
# At the end of the time, or where a rank or a machine dies, the job goes back to the queue and on from the last checkpoint.
#SBATCH --job-name=@NAME@
#SBATCH --nodes=@NODES@
#SBATCH --ntasks-per-node=@GPUS@
#SBATCH --gpus-per-node=@GPUS@
#SBATCH --cpus-per-task=@CPUS@
#SBATCH --time=@TIME@
#SBATCH --output=@NAME@-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
# Two minutes before the end every rank is asked to write a checkpoint and to end, with exit code 75.
#SBATCH --signal=TERM@120
set -uo pipefail
anaume=${ANAUME:-anaume}

srun --mpi=pmix --cpus-per-task=@CPUS@ --kill-on-bad-exit=1 "$anaume" pretrain @ARGUMENTS@
status=$?
# What crashes again and again ends some time.
if { [ "$status" -eq 75 ] || [ "$status" -ge 128 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit 75
fi
exit "$status"
