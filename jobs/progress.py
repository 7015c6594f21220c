"""How far a run is, on one line, for the job chains: `python jobs/progress.py OUT`."""

import sys
from pathlib import Path

from eddyscope.artefacts.status import read_last

found = read_last(Path(sys.argv[1]))
print(f"{found.state} {found.step} {found.message}" if found else "not started")
