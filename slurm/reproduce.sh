#!/usr/bin/env bash
# Every published experiment again: a job array over the tasks, then a job that writes the page.
#   bash slurm/reproduce.sh SHARES [--profile full|quick|trial] [--only SECTION] [--out DIR] [--refresh]
# Start it at the root of the project. SHARES is the number of tasks of the array; what sbatch shall know more
# goes into its variables, as in SBATCH_PARTITION=long SBATCH_ACCOUNT=mine bash slurm/reproduce.sh 16.
# What is finished is kept, so the same line goes on with what is missing; one share alone, here the third of
# eight:  sbatch --array=3 slurm/reproduce.sh 8 --profile full
# docs/clusters.md explains what stands here.
#SBATCH --job-name=reproduce
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --time=2:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -euo pipefail

if [ -d .venv ]; then export PATH="$PWD/.venv/bin:$PATH"; fi
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
shares=${1:-}
if [[ ! $shares =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash slurm/reproduce.sh SHARES [--profile full|quick|trial] [--only SECTION]" >&2
    exit 2
fi
options=("${@:2}")

# Outside a job, submit both. A share of ten thousand has nothing to do: wrong options are told at once.
if [ "${ENVIRONMENT:-}" != BATCH ]; then
    python -m tools.reproduce run --index 10000 --of 10000 "${options[@]}"
    array=$(sbatch --parsable --array="1-$shares" "$0" "$@")
    echo "${array%%;*}"
    # afterany: what failed is missing on the page, and told
    sbatch --parsable --dependency="afterany:${array%%;*}" --job-name=reproduce-page --time=0:30:00 \
        --output=%x-%j.log "$0" "$@" | cut -d ';' -f 1
    exit
fi

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    kept=()
    for word in "${options[@]}"; do if [ "$word" != --refresh ]; then kept+=("$word"); fi; done
    exec python -m tools.reproduce page "${kept[@]}"
fi

python -m tools.reproduce run --index "$SLURM_ARRAY_TASK_ID" --of "$shares" \
    --jobs "${SLURM_CPUS_PER_TASK:-1}" "${options[@]}" &
child=$!

# Slurm signals this shell before the time is up: runs save and stop, other tasks begin anew the next time.
asked=''
trap 'asked=yes interrupted=yes; kill -TERM "$child" 2>/dev/null || true' USR1 TERM
interrupted=yes
while [ -n "$interrupted" ]; do
    interrupted='' code=0
    wait "$child" || code=$?
done
if [ -n "$asked" ] && [ "$code" != 0 ]; then code=75; fi

# 75: stopped by the time limit, if the job is still RUNNING; it is not after scancel.
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
if [ "$code" = 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ] &&
    [ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ]; then
    scontrol requeue "$job"
fi

exit "$code"
