#!/usr/bin/env bash
# One stage of one case; by default its simulations.
#
#   source jobs/slurm/site.sh
#   sbatch jobs/slurm/dns.sh CASE.toml [--system base] [--out DIR] [section.key=value …]
#
#SBATCH --job-name=eddyscope-dns
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
# To all ranks (no "B:"), five minutes before the end: checkpoint, and exit with status 4.
#SBATCH --signal=USR1@300

cd "$SLURM_SUBMIT_DIR" || exit 1
source jobs/slurm/site.sh || exit 1 # before set -u, which few module systems survive
set -euo pipefail
source jobs/local/env.sh

: "${1:?give a case file: sbatch jobs/slurm/dns.sh CASE.toml}"
echo "eddyscope $(git describe --always --dirty) on $SLURM_JOB_NODELIST, $SLURM_NTASKS ranks"
srun --cpu-bind=cores eddyscope dns "$@"
