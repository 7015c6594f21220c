"""Arrays to try own_data.toml with, in place of your own: vorticity of a flow that is stirred at
small scales, and of one stirred at large ones, base_000.npy … and target_000.npy …, each (y, x).

    python own_data.py
"""

import numpy as np

import eddyscope

N = 96
SPIN_UP = 10.0
SAMPLES = 80

for name, wavenumber in {"base": 10, "target": 4}.items():
    flow = {
        "kind": "navier_stokes",
        "reynolds": 2000.0,
        "drag": 0.1,
        "forcing": {"kind": "deterministic", "wavenumber": wavenumber},
    }
    run = eddyscope.Solver(flow, n=N, seed=wavenumber)
    run.advance(SPIN_UP)
    for sample in range(SAMPLES):
        run.advance(0.5)
        np.save(f"{name}_{sample:03d}.npy", run.omega[0, 0])
