#!/usr/bin/env bash
# An input, on one node: 2 ranks, started by srun;
# stopped by its time limit, it saves and goes back into the queue, until the run is done.
#   sbatch slurm/requeue.sh INPUT.toml
# docs/clusters.md explains what stands here.
#SBATCH --job-name=dsmsim-requeue
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=4:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -euo pipefail

input=${1:?usage: sbatch slurm/requeue.sh INPUT.toml}

if [ -d .venv ]; then export PATH="$PWD/.venv/bin:$PATH"; fi
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_WAIT_POLICY=passive

srun --export=ALL --mpi=none --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    dsmsim run "$input" --resume &
child=$!

# Slurm signals this shell, the launcher passes SIGUSR1 on to the ranks, and they save and stop.
asked=''
trap 'asked=yes interrupted=yes; kill -USR1 "$child" 2>/dev/null || true' USR1 TERM
interrupted=yes
while [ -n "$interrupted" ]; do
    interrupted='' code=0
    wait "$child" || code=$?
done
# A signal that comes before dsmsim listens, or after it has saved, ends it with another code.
if [ -n "$asked" ] && [ "$code" != 0 ]; then code=75; fi

# 75: stopped by the time limit, if the job is still RUNNING; it is not after scancel.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
if [ "$code" = 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ] &&
    [ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ]; then
    scontrol requeue "$job"
fi

exit "$code"
