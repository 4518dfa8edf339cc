"""What `make stops` looks at, on stops made up; the stops themselves take minutes."""

import importlib.util
from pathlib import Path

import pytest

from minilora.experiments.rank import rank_known

PATH = Path(__file__).parents[2] / "tools" / "stops.py"
SAID = "\nstopping\nminilora: stopped; 2 finished runs of rank_known are kept; the same command resumes\n"


@pytest.fixture
def stops():
    spec = importlib.util.spec_from_file_location("stops", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / ".runs" / "rank_known"
    folder.mkdir(parents=True)
    for name in "ab":
        (folder / f"{name}.json").write_text("{}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("code", "said", "left", "fault"),
    [
        (130, SAID, [], None),
        (0, "", [], None),
        (-2, SAID, [], "exit code -2"),
        (130, SAID + "Traceback (most recent call last)", [], "a traceback"),
        (130, SAID, [4711], "processes left behind: [4711]"),
        (130, SAID.replace("2 finished", "3 finished"), [], "2 runs are kept, but it said"),
        (130, "minilora: stopped; no run was finished, so none is kept", [], "2 runs are kept, but it said"),
    ],
)
def test_each_fault_is_seen(stops, out, code, said, left, fault):
    faults = stops.judge(out, code, said, left)
    assert len(faults) == (fault is not None) and all(fault in line for line in faults)


def test_the_short_runs_are_settings_of_the_figure(stops):
    config = rank_known.Config(**stops.QUICK)
    assert config.steps == 300 and stops.DRIVER.count("QUICK") == 1
