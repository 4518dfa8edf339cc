"""The doctor sees what is missing, too old or too busy, and says what to do."""

import os
import subprocess
import sys
import tomllib

import pytest

from minilora.cli import doctor, main


@pytest.fixture
def quiet(monkeypatch):
    """A healthy machine: everything installed, nothing running, no thread settings."""
    versions = {}
    monkeypatch.setattr(doctor, "installed", lambda name: versions.get(name, "99.0"))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5), raising=False)
    for name in doctor.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return versions


def report(capsys):
    code = main(["doctor"])
    return code, capsys.readouterr().out


def test_a_healthy_machine(quiet, capsys):
    code, said = report(capsys)
    assert code == 0 and "<-" not in said and "optional" not in said
    assert all(f"{name} 99.0" in said for name in ("numpy", "scipy", "matplotlib", "tqdm"))


@pytest.mark.parametrize("version", [None, "1.13.9"])
def test_what_is_missing_or_too_old_is_named_with_the_remedy(quiet, capsys, version):
    quiet["scipy"] = version
    code, said = report(capsys)
    assert code == 1 and f"scipy {version or 'missing'}  <- python -m pip install 'scipy>=1.14'" in said


def test_a_missing_extra_is_no_fault(quiet, capsys):
    quiet["hypothesis"] = None
    code, said = report(capsys)
    assert code == 0 and "[test] lacks hypothesis; for it: python -m pip install -e '.[test]'" in said


def test_the_floors_are_those_of_pyproject():
    project = tomllib.loads(doctor.PYPROJECT.read_text(encoding="utf-8"))["project"]
    needed = doctor.requirements()
    runtime = [f"{name}>={floor}" for name, floor, extra in needed if extra is None]
    assert sorted(runtime) == sorted(project["dependencies"])
    assert {extra for _, _, extra in needed if extra} == set(project["optional-dependencies"])
    assert ("pytest", "8", "test") in needed


def test_a_checkout_that_was_not_installed_reads_pyproject(monkeypatch):
    def missing(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", missing)
    needed = doctor.requirements()
    assert ("numpy", "2.0", None) in needed and ("torch", "2.13.0", "parity") in needed


@pytest.mark.parametrize(
    ("value", "warns"), [("999", True), ("1", False), ("²", False), ("", False), ("many", False), ("-4", False)]
)
def test_more_threads_than_cores(quiet, capsys, monkeypatch, value, warns):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    code, said = report(capsys)
    assert code == 0 and ("more threads than cores is slower: set OMP_NUM_THREADS=" in said) == warns


@pytest.mark.parametrize(("threads", "warns"), [(2, True), (1, False), (None, True)])
def test_a_busy_machine(quiet, capsys, monkeypatch, threads, warns):
    monkeypatch.setattr(os, "getloadavg", lambda: (doctor.cores() + 1.25, 0, 0), raising=False)
    monkeypatch.setattr(doctor, "blas_threads", lambda: threads)
    code, said = report(capsys)
    assert code == 0 and f"busy: {doctor.cores() + 1.2:.1f} programs wait for" in said
    assert ("OPENBLAS_NUM_THREADS=1" in said) == warns


def test_the_blas_itself_is_asked_how_many_threads_it_uses():
    code = "from minilora.machine import blas_threads; print(blas_threads())"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": count},
            capture_output=True,
            text=True,
        ).stdout.strip()
        for count in ("1", "2")
    ]
    assert said in (["1", "2"], ["1", "1"], ["None", "None"])  # two threads need two cores; None: another BLAS


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere; Windows has other rights")
def test_a_folder_that_cannot_be_written(quiet, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o500)
    code, said = report(capsys)
    tmp_path.chmod(0o700)
    assert code == 1 and "cannot be written  <- go to a folder of your own" in said
