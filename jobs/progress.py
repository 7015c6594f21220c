"""How far a run is, on one line, for the job chains: `python jobs/progress.py OUT`."""

import json
import sys
from pathlib import Path

try:
    status = json.loads((Path(sys.argv[1]) / "status.json").read_text(encoding="utf-8"))
    print(status["state"], status["step"], status["message"])
except FileNotFoundError:
    print("not started")
