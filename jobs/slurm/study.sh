#!/usr/bin/env bash
# One kind of a study's work (dns, train, cells, tables); in an array each job does its share of it.
#
#   source jobs/slurm/site.sh
#   sbatch [--array=1-N] jobs/slurm/study.sh STUDY.toml OUT KIND [--only CASE …]
#
#SBATCH --job-name=eddyscope-study
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --signal=USR1@120

cd "$SLURM_SUBMIT_DIR" || exit 1
source jobs/slurm/site.sh || exit 1
set -euo pipefail
source jobs/local/env.sh

: "${3:?give STUDY.toml, OUT and one of dns, train, cells, tables}"
study=$1 out=$2 kind=$3
shift 3
part=()
if [[ $kind != tables && -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    part=(--part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_MAX")
fi
echo "eddyscope $(git describe --always --dirty) on $SLURM_JOB_NODELIST, $SLURM_NTASKS ranks"
srun --cpu-bind=cores eddyscope study "$study" --out "$out" --do "$kind" "${part[@]}" "$@"
