#!/usr/bin/env bash
# Trains on @NODES@ × @GPUS@ ranks, one a GPU, with Open MPI.
#   HOSTFILE=hosts bash train.sh    on the machines that this file lists, one a line
# Exit code 75: run it again, it goes on from the last checkpoint. Any other is the program's own.
set -uo pipefail
anaume=${ANAUME:-anaume}

# A process group of its own: Ctrl-C is for this script, mpirun would end the ranks at once.
set -m
mpirun -n @RANKS@ --map-by ppr:@GPUS@:node --bind-to none ${HOSTFILE:+--hostfile "$HOSTFILE"} \
  "$anaume" pretrain @ARGUMENTS@ </dev/null &
job=$!
# Of SIGUSR1 mpirun tells every rank, which ends with a checkpoint; of SIGTERM it would end them at once.
trap 'kill -USR1 "$job" 2>/dev/null' TERM INT USR1
wait "$job"
status=$?
# A signal ends the wait and not the job.
while kill -0 "$job" 2>/dev/null; do
  wait "$job"
  status=$?
done
# A rank that a signal ended, or a machine that is gone.
[ "$status" -lt 128 ] || status=75
exit "$status"
