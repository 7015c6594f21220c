#!/usr/bin/env bash
# Sets up everything eddyscope needs in this clone's .venv. Call it again at will: it
# returns in about a second when nothing that decides the environment has changed.
#
#   bash jobs/local/setup.sh                       CPU build of torch
#   EDDYSCOPE_TORCH=cuda bash jobs/local/setup.sh  CUDA build (some gigabytes)
#   EDDYSCOPE_HDF5=mpi bash jobs/local/setup.sh    beside it, an h5py built with MPI, for
#                                                  [storage] driver = "mpio"; it is used where
#                                                  EDDYSCOPE_HDF5=mpi is set when env.sh is sourced
#
# The compiler wrapper, FFTW and parallel HDF5 are Debian's where this user can install packages,
# and the site's own (modules) elsewhere:
#   CC          the MPI compiler wrapper          (default: mpicc)
#   FFTW_DIR    prefix of FFTW                    (default: the compiler's own search path)
#   HDF5_DIR    prefix of parallel HDF5           (default: Debian's libhdf5-openmpi-dev)
#   PYTHON      the interpreter, 3.11 or newer    (default: python3)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
torch_build=${EDDYSCOPE_TORCH:-cpu}
hdf5_build=${EDDYSCOPE_HDF5:-serial}
python=${PYTHON:-python3}
venv=$root/.venv
pins=$root/jobs/local/constraints.txt
stamp=$venv/.set-up
parallel_h5py=$venv/h5py-mpi # found before the other h5py where env.sh puts it on the path
packages=(openmpi-bin libopenmpi-dev libfftw3-dev gcc)
hdf5_packages=(libhdf5-openmpi-dev pkg-config)

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$@" >&2; exit 1; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pin() { sed -n "s/^$1==//p" "$pins"; }

case $torch_build in cpu | cuda) ;; *)
    stop "EDDYSCOPE_TORCH=$torch_build is not a build of torch; allowed: cpu, cuda" ;;
esac
case $hdf5_build in serial | mpi) ;; *)
    stop "EDDYSCOPE_HDF5=$hdf5_build is not a build of h5py; allowed: serial, mpi" ;;
esac
command -v "$python" > /dev/null || stop "no $python found; install Python 3.11 or newer, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$("$python" -V) is too old: eddyscope needs 3.11 or newer; set PYTHON=/path/to/python3.11"

# --- Debian packages, and what is compiled here -----------------------------------------------
as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi; }
can_install() { command -v apt-get > /dev/null && { [[ $(id -u) == 0 ]] || sudo -n true 2> /dev/null; }; }
has_package() { [[ $(dpkg-query -W -f '${Status}' "$1" 2> /dev/null) == *"ok installed" ]]; }

install_packages() {
    local missing=() package
    for package in "$@"; do has_package "$package" || missing+=("$package"); done
    ((${#missing[@]})) || return 0
    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" > build/apt.log 2>&1 || { tail -n 20 build/apt.log >&2; stop "apt-get failed, see above"; }
}

# What is compiled is kept for all clones, as wheels under a key of what it was compiled with: pip's
# own cache does not know about MPI, so it is not used.
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/eddyscope/wheels
# compile WHAT KEY ENVIRONMENT…: its wheel in $wheels/KEY, unless it is there.
compile() {
    local what=$1 key=$2 part
    shift 2
    [[ ! -d $wheels/$key ]] || return 0
    mkdir -p "$wheels"
    part=$(mktemp -d "$wheels/part.XXXXXX")
    env "$@" "$venv/bin/python" -m pip --disable-pip-version-check wheel -qq --no-deps \
        --no-build-isolation --no-cache-dir -c "$pins" -w "$part" "--no-binary=$what" "$what" ||
        { rm -rf "$part"; stop "$what could not be compiled, see above"; }
    mv -T "$part" "$wheels/$key" 2> /dev/null || rm -rf "$part" # another clone may have been first
}
# wheels_key FACTS…: of these and of what every compiled package depends on.
wheels_key() {
    {
        "$CC" -show 2> /dev/null || "$CC" --version
        (mpirun --version || "$CC" --version) 2> /dev/null | head -n 1
        echo "$(uname -m) $*"
        "$venv/bin/python" -VV
        grep -E '^(numpy|mpi4py|mpi4py-fft|Cython|h5py)==' "$pins"
    } | sha256sum | cut -c -16
}

# An h5py built with MPI, in a folder that env.sh puts before the other h5py where it is asked for.
set_up_parallel_h5py() {
    local key hdf5=${HDF5_DIR:-} where=(HDF5_PKGCONFIG_NAME=hdf5-openmpi)
    [[ -z $hdf5 ]] || where=(HDF5_DIR="$hdf5")
    export CC=${CC:-mpicc}
    if [[ -z $hdf5 ]]; then
        if can_install; then install_packages "${hdf5_packages[@]}"; fi
        hdf5=$(pkg-config --modversion hdf5-openmpi 2> /dev/null) || stop \
            "no parallel HDF5 found. Load your site's module (such as 'module load hdf5-parallel') and" \
            "export HDF5_DIR=<its prefix>, or ask for the packages: ${hdf5_packages[*]}"
    fi
    key=$(wheels_key "parallel HDF5 $hdf5")
    if [[ $(cat "$parallel_h5py/.set-up" 2> /dev/null) == "$key" ]]; then
        say "up to date (h5py built with MPI)"
        return 0
    fi
    say "an h5py built with MPI for HDF5 $hdf5: about two minutes the first time on this machine"
    pip install -qq -c "$pins" pkgconfig
    compile h5py "$key" HDF5_MPI=ON CFLAGS="-O1 -g0" "${where[@]}"
    rm -rf "$parallel_h5py"
    pip install -qq --no-deps --no-index --target "$parallel_h5py" "$wheels/$key"/*.whl
    PYTHONPATH=$parallel_h5py "$venv/bin/python" -c \
        'import h5py, sys; sys.exit(not h5py.get_config().mpi)' ||
        stop "h5py was built, but not with MPI; see $wheels/$key"
    echo "$key" > "$parallel_h5py/.set-up"
    say "h5py built with MPI is there; use it with: EDDYSCOPE_HDF5=mpi; source jobs/local/env.sh"
}

# --- Is there anything to do? ------------------------------------------------------------
environment_key() {
    {
        cat "${BASH_SOURCE[0]}" "$pins"
        sed -n '/^\[project/,/^\[tool/p' pyproject.toml
        echo "$root $torch_build ${CC:-mpicc} ${FFTW_DIR:-}"
        "$python" -V
        readlink -f "$(command -v "${CC:-mpicc}" || true)"
    } | sha256sum | cut -c -16
}
up_to_date() {
    [[ -x $venv/bin/eddyscope && $(cat "$stamp" 2> /dev/null) == "$(environment_key)" ]]
}
leave() {
    say "up to date (.venv, torch for $torch_build)"
    [[ $hdf5_build == serial ]] || set_up_parallel_h5py
    exit 0
}

mkdir -p build
exec 9>> build/setup.lock
if ! flock --nonblock 9; then
    say "another set-up of this clone is running; waiting for it"
    flock 9
fi
if up_to_date; then leave; fi
say "setting up .venv: about one minute, one more the first time on this machine"

# --- MPI, FFTW -----------------------------------------------------------------------------
if [[ -z ${FFTW_DIR:-} ]] && can_install; then
    install_packages "${packages[@]}"
fi

export CC=${CC:-mpicc}
command -v "$CC" > /dev/null || stop \
    "no MPI compiler ($CC) found, and this user cannot install packages. Then either" \
    "  load your site's module, such as 'module load openmpi' (on Cray: export CC=cc), or" \
    "  ask for the packages: ${packages[*]}"

fftw=$(echo '#include <fftw3.h>' | "$CC" ${FFTW_DIR:+-I"$FFTW_DIR/include"} -E -xc - 2> /dev/null |
    sed -n 's/^# 1 "\(.*fftw3.h\)".*/\1/p' | head -n 1)
[[ -n $fftw ]] || stop \
    "no FFTW found (fftw3.h). Load your site's module (such as 'module load fftw') and" \
    "export FFTW_DIR=<its prefix>, or ask for the package libfftw3-dev"

# --- Python packages ---------------------------------------------------------------------
# An old environment is kept if it is whole, of this Python, and still where it was made.
if ! { grep -qsF "$venv" "$venv/bin/activate" && pip --version > /dev/null 2>&1 &&
    [[ $("$venv/bin/python" -V) == "$("$python" -V)" ]]; }; then
    say "making .venv with $("$python" -V)"
    if ! "$python" -m ensurepip --version > /dev/null 2>&1 && can_install; then
        install_packages python3-venv  # Debian keeps ensurepip apart
    fi
    "$python" -m venv --clear "$venv"
fi
rm -f "$stamp"

say "installing numpy, mpi4py and the build tools"
# mpi4py from its wheel, which serves any MPI: compiled here it takes most of an hour.
pip install -qq -c "$pins" --only-binary=numpy,mpi4py numpy mpi4py cython setuptools wheel

torch_version=$(pin torch)
if [[ $torch_build == cpu ]]; then
    # The local version "+cpu" can match a CPU wheel only, never gigabytes of CUDA. It may
    # be among pip's configured sources; if not, it is on PyTorch's index of CPU builds.
    say "installing torch $torch_version, CPU build (about 200 MB)"
    pip install -qq -c "$pins" "torch==$torch_version+cpu" 2> /dev/null ||
        pip install -qq -c "$pins" "torch==$torch_version+cpu" \
            --extra-index-url https://download.pytorch.org/whl/cpu
else
    say "installing torch $torch_version, CUDA build (some gigabytes)"
    if "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' 2> /dev/null; then
        pip uninstall -qq -y torch  # the CPU build carries the same version number
    fi
    pip install -qq -c "$pins" "torch==$torch_version" ${EDDYSCOPE_TORCH_INDEX:+--index-url "$EDDYSCOPE_TORCH_INDEX"}
fi
found=$("$venv/bin/python" -c 'import torch; print("cuda" if torch.version.cuda else "cpu", torch.__version__)')
[[ $found == "$torch_build "* ]] || stop \
    "torch $found was installed where the $torch_build build was asked for: pip's configured sources" \
    "offer that one first; name an index, as in" \
    "  EDDYSCOPE_TORCH_INDEX=https://download.pytorch.org/whl/cu128 EDDYSCOPE_TORCH=cuda bash jobs/local/setup.sh"
say "torch is ${found#* }"

key=$(wheels_key "$fftw ${FFTW_DIR:-}")
[[ -d $wheels/$key ]] || say "compiling mpi4py-fft for $fftw: about one minute, once on this machine"
compile mpi4py-fft "$key"
say "installing mpi4py-fft from $wheels/$key"
pip install -qq --no-deps --no-index --force-reinstall "$wheels/$key"/*.whl

say "installing eddyscope (editable) and the tools for its tests"
pip install -qq -c "$pins" --no-build-isolation -e '.[dev]'

# --- Does it work? -----------------------------------------------------------------------
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$venv/bin/python" -m eddyscope doctor ||
    stop "the environment is installed but does not work; see the lines marked FAIL above"
environment_key > "$stamp"
[[ $hdf5_build == serial ]] || set_up_parallel_h5py
say "done; use it with: source jobs/local/env.sh"
