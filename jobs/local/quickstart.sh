#!/usr/bin/env bash
# Sets up, then runs the whole small study of configs/quickstart.toml on up to two cores.
#
#   bash jobs/local/quickstart.sh [--out DIR] [--fresh] [section.key=value …]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bash jobs/local/setup.sh
source jobs/local/env.sh

mpi_run "$(($(cores) < 2 ? 1 : 2))" eddyscope run configs/quickstart.toml "$@"
