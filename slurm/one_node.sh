#!/usr/bin/env bash
# Run an input, or resume a run, on one CPU node: one rank per task.
#   sbatch slurm/one_node.sh inputs/two_bosons.toml
#   sbatch slurm/one_node.sh runs/two_bosons            (a directory: resume)
#SBATCH --job-name=dsmsim
#SBATCH --nodes=1
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
#SBATCH --signal=USR1@120
#SBATCH --output=dsmsim-%j.log
set -euo pipefail
target=${1:?usage: sbatch slurm/one_node.sh INPUT.toml or RUN_DIRECTORY}
[ -d .venv ] && export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_WAIT_POLICY=passive
if [ -d "$target" ]; then command=resume; else command=run; fi
exec srun --kill-on-bad-exit=1 dsmsim "$command" "$target"
