# Source this: eddyscope's environment, and mpi_run, which starts ranks on this machine.
#
#   source jobs/local/env.sh                          EDDYSCOPE_HDF5=mpi: with parallel HDF5
#   mpi_run 4 eddyscope dns configs/quickstart.toml

_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ ! -f $_root/.venv/bin/activate ]]; then
    echo "env.sh: no .venv here yet; run: bash jobs/local/setup.sh" >&2
    return 1
fi
# shellcheck disable=SC1091
source "$_root/.venv/bin/activate"

# EDDYSCOPE_HDF5=mpi: the h5py that is built with MPI comes before the other one.
PYTHONPATH=:${PYTHONPATH:-}:
PYTHONPATH=${PYTHONPATH//:"$_root/.venv/h5py-mpi":/:}
if [[ ${EDDYSCOPE_HDF5:-serial} == mpi ]]; then
    if [[ ! -d $_root/.venv/h5py-mpi ]]; then
        echo "env.sh: no h5py built with MPI here yet; run: EDDYSCOPE_HDF5=mpi bash jobs/local/setup.sh" >&2
        return 1
    fi
    PYTHONPATH=:$_root/.venv/h5py-mpi$PYTHONPATH
fi
PYTHONPATH=${PYTHONPATH#:}
export PYTHONPATH=${PYTHONPATH%:}
unset _root

# One thread a rank: ranks are how eddyscope uses cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Open MPI refuses root unless told twice, and in containers root is who one is.
if [[ $(id -u) == 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# How many cores this shell may use. (nproc alone would answer with OMP_NUM_THREADS.)
cores() { env -u OMP_NUM_THREADS nproc; }

# mpi_run N COMMAND…: N ranks here, also where N is more than there are cores.
mpi_run() {
    local ranks=$1 flags=()
    shift
    if ((ranks > $(cores))) && mpirun --version | grep -q "Open MPI"; then
        flags=(--oversubscribe --bind-to none)
    fi
    mpirun "${flags[@]}" -n "$ranks" "$@"
}
