#!/usr/bin/env bash
# Simulations longer than the queue allows (STAGE is dns; other stages do not stop early): each
# job that stopped early queues the next one.
# The chain ends when the stage is done or fails, and when a job made no progress.
#
#   source jobs/pbs/site.sh
#   qsub $EDDYSCOPE_QSUB -v STAGE=dns,CASE=CASE.toml,OUT=DIR jobs/pbs/chain.sh
#
#PBS -N eddyscope-chain
#PBS -l select=1:ncpus=64:mpiprocs=64
#PBS -l walltime=04:00:00
#PBS -j oe

cd "$PBS_O_WORKDIR" || exit 1
source jobs/pbs/site.sh || exit 1
set -euo pipefail
source jobs/local/env.sh

: "${STAGE:?give -v STAGE=,CASE=,OUT=}" "${CASE:?give -v STAGE=,CASE=,OUT=}" "${OUT:?give -v STAGE=,CASE=,OUT=}"
before=$(python jobs/progress.py "$OUT")
status=0
# PBS sends no early warning: five minutes before the end, we do. (14400 s is the walltime.)
timeout --foreground --signal=USR1 $((14400 - 300)) \
    mpiexec -n "$(wc -l < "$PBS_NODEFILE")" --cpu-bind core \
    eddyscope "$STAGE" "$CASE" --out "$OUT" || status=$?
# Launchers change exit statuses when a signal was involved; the status file knows.
after=$(python jobs/progress.py "$OUT")

case $after in
    "stopped early "*)
        if [[ $after == "$before" ]]; then
            echo "no progress since the last job ($after): not going on" >&2
            exit 1
        fi
        # shellcheck disable=SC2086
        qsub $EDDYSCOPE_QSUB -v "STAGE=$STAGE,CASE=$CASE,OUT=$OUT" jobs/pbs/chain.sh
        ;;
    "complete "*) echo "done: $after" ;;
    *)
        echo "ended with status $status ($after): not going on" >&2
        exit $((status == 0 ? 1 : status))
        ;;
esac
