#!/usr/bin/env bash
# Trains the base network, then the transferred ones: one rank a GPU.
#
#   source jobs/pbs/site.sh
#   qsub $EDDYSCOPE_QSUB -v ARGS="CASE.toml" jobs/pbs/train.sh
#
#PBS -N eddyscope-train
#PBS -l select=1:ncpus=32:mpiprocs=4:ngpus=4
#PBS -l walltime=08:00:00
#PBS -j oe

cd "$PBS_O_WORKDIR" || exit 1
source jobs/pbs/site.sh || exit 1
set -euo pipefail
export OMP_NUM_THREADS=8
source jobs/local/env.sh

: "${ARGS:?give a case file: qsub -v ARGS=CASE.toml jobs/pbs/train.sh}"
ranks=$(wc -l < "$PBS_NODEFILE")
echo "eddyscope $(git describe --always --dirty) on $ranks ranks"
for stage in train transfer; do
    # shellcheck disable=SC2086
    mpiexec -n "$ranks" --cpu-bind depth --depth "$OMP_NUM_THREADS" eddyscope "$stage" $ARGS
done
