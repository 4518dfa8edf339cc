"""Runs on disk: taken again only for the same function, item and code."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from minilora.parallel.kept import KeptRuns, canonical


@dataclass(frozen=True)
class Run:
    rank: int
    rate: float = 0.1
    names: tuple[str, ...] = ("q", "v")


@dataclass(frozen=True)
class Other:
    rank: int
    rate: float = 0.1
    names: tuple[str, ...] = ("q", "v")


def one(run):
    return run


def two(run):
    return run


def test_a_run_is_found_again_and_no_other_is(tmp_path):
    runs = KeptRuns(tmp_path, one)
    assert runs.load(Run(1)) is None
    assert runs.save(Run(1), 2.5, {"loss": np.float32(0.5), "curve": np.arange(2)}) == (
        2.5,
        {"loss": 0.5, "curve": [0, 1]},
    )
    assert KeptRuns(tmp_path, one).load(Run(1)) == (2.5, {"loss": 0.5, "curve": [0, 1]})
    for item in (Run(2), replace(Run(1), rate=0.1 + 1e-16 * 8), Run(1, names=("q",)), Other(1), (1, 0.1), [1]):
        assert runs.load(item) is None
    assert KeptRuns(tmp_path, two).load(Run(1)) is None


def test_a_damaged_file_is_computed_again(tmp_path):
    runs = KeptRuns(tmp_path, one)
    runs.save(Run(1), 1.0, 1)
    (path,) = tmp_path.glob("*.json")
    for text in ("", "{", "[]", '{"seconds": 1}'):
        path.write_text(text, encoding="utf-8")
        assert runs.load(Run(1)) is None


@pytest.mark.parametrize(
    "item", [np.zeros(3), {1, 2}, lambda x: x, (1, np.float32(2)), {"a": 1}], ids=lambda x: type(x).__name__
)
def test_an_item_whose_text_would_not_tell_it_from_others_is_refused(item):
    with pytest.raises(TypeError, match="an item must be made of dataclasses, tuples, text and numbers, got"):
        canonical(item)


def test_a_result_that_json_cannot_hold_is_named(tmp_path):
    with pytest.raises(TypeError, match="result must be what JSON can hold, got set"):
        KeptRuns(tmp_path, one).save(Run(1), 1.0, {1, 2})
