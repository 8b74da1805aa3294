#!/usr/bin/env bash
# An input, on one node: 2 ranks, started by srun;
# 3 jobs, each of which continues where the one before was stopped.
#   bash slurm/chain.sh INPUT.toml
# docs/clusters.md explains what stands here.
#SBATCH --job-name=dsmsim-chain
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=4:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
set -euo pipefail

# Outside a job, submit the chain. A job begins when all before it have ended unfinished.
if [ "${ENVIRONMENT:-}" != BATCH ]; then
    : "${1:?usage: bash slurm/chain.sh INPUT.toml}"
    before=
    for _ in $(seq 3); do
        after=${before:+--dependency=afternotok$before}
        job=$(sbatch --parsable --kill-on-invalid-dep=yes $after "$0" "$@")
        echo "${job%%;*}"
        before=$before:${job%%;*}
    done
    exit
fi

input=${1:?usage: bash slurm/chain.sh INPUT.toml}

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

exit "$code"
