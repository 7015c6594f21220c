#!/usr/bin/env bash
# Trains the base network, then the transferred ones: one rank a GPU.
#
#   source jobs/slurm/site.sh
#   sbatch jobs/slurm/train.sh CASE.toml [--out DIR] [section.key=value …]
#
#SBATCH --job-name=eddyscope-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00

cd "$SLURM_SUBMIT_DIR" || exit 1
source jobs/slurm/site.sh || exit 1
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
source jobs/local/env.sh

: "${1:?give a case file: sbatch jobs/slurm/train.sh CASE.toml}"
echo "eddyscope $(git describe --always --dirty) on $SLURM_JOB_NODELIST, $SLURM_NTASKS ranks"
# Every rank sees all GPUs of its node and takes its own by its place there.
for stage in train transfer; do
    srun --cpu-bind=cores --cpus-per-task="$SLURM_CPUS_PER_TASK" eddyscope "$stage" "$@"
done
