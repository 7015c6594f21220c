#!/usr/bin/env bash
# Sets up, then checks everything: style, types, the serial tests, the tests on ranks.
# Ends with one line of counts; the exit status is 0 only if nothing failed.
#
#   bash jobs/local/test.sh [pytest's selection, as in: -k checkpoint]
#   RANKS="2 4" bash jobs/local/test.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

EDDYSCOPE_HDF5=mpi bash jobs/local/setup.sh
source jobs/local/env.sh

reports=test-reports
rm -rf "$reports"
mkdir -p "$reports"
selected=$([[ $# == 0 ]] && echo no || echo yes)

# Ranks of other users' jobs, or of another clone's tests, may be on the same cores.
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
# Ranks that wait leave their core to those: two that wait for one another beside another job
# take four times as long where they do not.
export OMPI_MCA_mpi_yield_when_idle=1

# step NAME RANKS COMMAND…: run it, and write down how it ended. RANKS is 0 if it is no test.
# In the background, so that an interrupt here can end it.
step() {
    local name=$1 ranks=$2 status=0 began=$SECONDS
    shift 2
    printf '\n== %s\n' "$name"
    "$@" &
    running=$!
    wait "$running" || status=$?
    echo "$name $status $ranks $selected" >> "$reports/steps.txt"
    printf -- '-- %s: %d s\n' "$name" $((SECONDS - began))
}
# Tests start more than a thousand jobs: each would compile our modules anew where the environment
# keeps Python from writing bytecode. It lies in one place, so that no test finds it in its folders.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$PWD/$reports/bytecode

beside=()
trap 'kill "$running" "${beside[@]}" 2> /dev/null; exit 130' INT TERM

# Hangs are ended by pytest's own limits, with stacks; this hard one is for what is left.
limited() { exec timeout --kill-after=15 "$@"; }

serial_tests() {
    limited 2400 python -m pytest -q -m "not mpi" --outcomes "$reports/serial" \
        --ignore=tests/reliability "$@"
}

# Jobs that are started, refused, stopped and killed.
refusal_tests() {
    limited 2400 python -m pytest -q -m "not mpi" --outcomes "$reports/refusals" \
        tests/reliability/test_bad_*.py "$@"
}
reliability_tests() {
    limited 2400 python -m pytest -q -m "not mpi" --outcomes "$reports/reliability" \
        --ignore=tests/{contract,mpi,physics,unit} --ignore-glob="*/test_bad_*" "$@"
}

# Storage and kills once more, with the h5py that is built with MPI: storage by both drivers then,
# kills by the other one.
parallel_hdf5() { EDDYSCOPE_HDF5=mpi "$@"; }
kill_tests() {
    # shellcheck disable=SC2016
    limited 300 bash -c 'source jobs/local/env.sh && exec python -m pytest -q "$@"' pytest \
        -m "not mpi" --outcomes "$reports/parallel-hdf5" \
        "tests/reliability/test_kills.py::test_killed_at_random_moments_it_ends_with_the_same_bits[mpio]" "$@"
}

# No summary: each rank prints its failures at once, since a summary would die with the job.
rank_tests() {
    local name=$1 ranks=$2
    shift 2
    # shellcheck disable=SC2016
    limited 1500 bash -c 'source jobs/local/env.sh && mpi_run "$@"' mpi_run "$ranks" \
        python -m pytest -q --color=no --no-summary --only-mpi -m mpi \
        --outcomes "$reports/$name" "$@"
}

# One core is left to what starts no ranks of its own, and to one rank; the first tests there
# compile the loops for all.
beside_others() {
    trap 'kill "$running" 2> /dev/null; exit 130' TERM
    step mypy 0 mypy
    step refusals 1 refusal_tests "$@"
    step reliability 1 reliability_tests "$@"
    step parallel-hdf5 1 parallel_hdf5 kill_tests "$@"
}
on_ranks() {
    local ranks=$1 name=parallel-hdf5-ranks-$1
    shift
    step "ranks-$ranks" "$ranks" rank_tests "ranks-$ranks" "$ranks" "$@"
    step "$name" "$ranks" parallel_hdf5 rank_tests "$name" "$ranks" tests/mpi/test_dataset_writer.py "$@"
}

step ruff 0 ruff check .
step format 0 ruff format --check --quiet .
beside_others "$@" > "$reports/beside.txt" 2>&1 &
beside=($!)
more=()
for ranks in ${RANKS:-1 2 3 4}; do
    if ((ranks > 1)); then more+=("$ranks"); else on_ranks "$ranks" "$@"; fi
done
step serial 1 serial_tests "$@"
wait "${beside[@]}" || true
beside=()
cat "$reports/beside.txt"
for ranks in "${more[@]}"; do # more ranks than one have both cores
    on_ranks "$ranks" "$@"
done

printf '\n'
python tests/report_counts.py "$reports"
