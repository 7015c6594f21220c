#!/usr/bin/env bash
# One case's simulations, under PBS with PALS' mpiexec.
#
#   source jobs/pbs/site.sh
#   qsub $EDDYSCOPE_QSUB -v ARGS="CASE.toml --system base" jobs/pbs/dns.sh
#
#PBS -N eddyscope-dns
#PBS -l select=1:ncpus=64:mpiprocs=64
#PBS -l walltime=04:00:00
#PBS -j oe

cd "$PBS_O_WORKDIR" || exit 1
source jobs/pbs/site.sh || exit 1 # before set -u, which few module systems survive
set -euo pipefail
source jobs/local/env.sh

: "${ARGS:?give a case file: qsub -v ARGS=CASE.toml jobs/pbs/dns.sh}"
ranks=$(wc -l < "$PBS_NODEFILE")
echo "eddyscope $(git describe --always --dirty) on $ranks ranks"
# PBS sends no early warning: five minutes before the end, we do. (14400 s is the walltime.)
# shellcheck disable=SC2086
timeout --foreground --signal=USR1 $((14400 - 300)) \
    mpiexec -n "$ranks" --cpu-bind core eddyscope dns $ARGS
