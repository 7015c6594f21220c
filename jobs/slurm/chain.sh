#!/usr/bin/env bash
# Simulations longer than the queue allows (STAGE is dns; other stages do not stop early): each
# job that stopped early queues the next one.
# The chain ends when the stage is done or fails, and when a job made no progress.
#
#   source jobs/slurm/site.sh
#   sbatch jobs/slurm/chain.sh STAGE CASE.toml OUT [section.key=value …]
#
# Change the lines below, not sbatch's options: the next job would not know of those.
#SBATCH --job-name=eddyscope-chain
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@300

cd "$SLURM_SUBMIT_DIR" || exit 1
source jobs/slurm/site.sh || exit 1
set -euo pipefail
source jobs/local/env.sh

: "${3:?give STAGE, CASE.toml and OUT}"
next=(sbatch jobs/slurm/chain.sh "$@")
stage=$1 case_file=$2 out=$3
shift 3

before=$(python jobs/progress.py "$out")
status=0
srun --cpu-bind=cores eddyscope "$stage" "$case_file" --out "$out" "$@" || status=$?
# Launchers change exit statuses when a signal was involved; the status file knows.
after=$(python jobs/progress.py "$out")

case $after in
    "stopped early "*)
        if [[ $after == "$before" ]]; then
            echo "no progress since the last job ($after): not going on" >&2
            exit 1
        fi
        "${next[@]}"
        ;;
    "complete "*) echo "done: $after" ;;
    *)
        echo "ended with status $status ($after): not going on" >&2
        exit $((status == 0 ? 1 : status))
        ;;
esac
