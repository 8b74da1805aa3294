#!/usr/bin/env bash
# Run an input, or resume a run, on the GPUs of one node: one rank per GPU.
#   sbatch slurm/gpu.sh inputs/two_bosons.toml
#SBATCH --job-name=dsmsim-gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --output=dsmsim-%j.log
set -euo pipefail
target=${1:?usage: sbatch slurm/gpu.sh INPUT.toml or RUN_DIRECTORY}
[ -d .venv ] && export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
if [ -d "$target" ]; then command=resume; else command=run; fi
exec srun --kill-on-bad-exit=1 dsmsim "$command" "$target"
