"""`eddyscope doctor` on this machine, and what it says where something is missing."""

from __future__ import annotations

import sys

from eddyscope.config.errors import CaseError
from eddyscope.parallel import launch as launching
from eddyscope.parallel.world import World
from eddyscope.stages import doctor


def test_this_machine_is_set_up_right(launch):
    ended = launch(2, [sys.executable, "-m", "eddyscope", "doctor"], 120)
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not [line for line in lines if line.startswith("FAIL")]
    for words in ("mpi4py uses", "h5py", "one MPI", "FFTW in float, double", "gloo"):
        assert any(line.startswith("ok") and words in line for line in lines), words
    assert any("wrote one HDF5 file together" in line for line in lines)


def test_a_precision_without_fftw_fails_with_its_remedy(monkeypatch):
    monkeypatch.setattr(
        doctor, "fftw_precisions", lambda: {"float": False, "double": True, "long double": False}
    )
    finding = doctor.check_fftw()
    assert finding.verdict == "FAIL"
    assert "no float" in finding.words
    assert "libfftw3-dev" in finding.words


def test_no_launcher_is_a_failure_not_a_traceback(monkeypatch, capsys):
    def no_launcher(*_):
        raise CaseError("no mpirun, mpiexec or srun in PATH")

    monkeypatch.setattr(doctor, "launch", no_launcher)
    assert doctor.run(World.single()) == 1
    assert "FAIL no ranks started — no mpirun" in capsys.readouterr().out


def test_a_probe_that_dies_is_reported(monkeypatch, capsys):
    class Ended:
        stdout, stderr, returncode = "ok   a first trial\n", "killed\n", 137

    monkeypatch.setattr(doctor, "launch", lambda *_: Ended)
    assert doctor.run(World.single()) == 1
    said = capsys.readouterr().out
    assert "ok   a first trial" in said
    assert "FAIL two ranks ended with status 137 (killed)" in said


def test_inherited_launcher_variables_do_not_reach_new_ranks(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "7")
    monkeypatch.setenv("PMIX_NAMESPACE", "elsewhere")
    # One rank speaks: lines of several may run into each other.
    code = "from mpi4py import MPI; print(MPI.COMM_WORLD.gather(MPI.COMM_WORLD.size))"
    ended = launching.launch(2, [sys.executable, "-c", code], 60)
    assert "[2, 2]" in ended.stdout
