"""Does a check see what differs, and only that?"""

import json
import shutil
from pathlib import Path

import pytest

from minilora import gallery

TOLERANCE = {"rtol": 0.1, "atol": 0, "overrides": {"/exact": {"rtol": 0, "atol": 0}, "/said/": {"text": "any"}}}
OUTLIERS = gallery.select(["outliers"])[0]


@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_the_committed_numbers_were_made_with_todays_settings(figure):
    assert gallery.other_settings(figure, gallery.COMMITTED) == []


@pytest.fixture
def copy(tmp_path):
    """Change the outliers' committed JSON in a copy, and check that."""
    path = Path(shutil.copy(gallery.COMMITTED / "outliers.json", tmp_path))

    def check(change):
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return gallery.check(OUTLIERS, tmp_path)

    return check


def test_the_committed_numbers_hold(copy):
    assert copy(lambda content: None) == []


def test_a_number_that_differs_is_named_with_both_values(copy):
    def change(content):
        content["numbers"]["error"]["mae"]["block"]["nf4"]["outside"][1][0] = 0.5

    (line,) = copy(change)
    assert line.startswith("outliers: /error/mae/block/nf4/outside/1/0: stored 0.5, computed 0.07")


def test_a_setting_that_differs_is_named_and_nothing_computed(copy):
    def change(content):
        content["config"]["block_size"] = 7
        content["config"]["gone"] = 1

    one, two = copy(change)
    assert one.startswith("outliers: config block_size: stored 7, today 64")
    assert two.startswith("outliers: config gone: stored 1, today None")


@pytest.mark.parametrize(
    ("stored", "again", "count"),
    [
        ({"a": [1.0]}, {"a": [1.05]}, 0),
        ({"a": [1.0]}, {"a": [1.2]}, 1),
        ({"a": [1.0, 2.0]}, {"a": [1.2, 2.5]}, 2),
        ({"exact": 1.0}, {"exact": 1.01}, 1),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, 1),
        ({"a": 1.0}, {"b": 1.0}, 1),
        ({"a": "one"}, {"a": "two"}, 1),
        ({"said": {"a": "one"}}, {"said": {"a": "two"}}, 0),
        ({"said": {"a": "one"}}, {"said": {"a": None}}, 1),
        ({"a": 1.0}, {"a": "1.0"}, 1),
        ({"a": 1.0}, {"a": float("nan")}, 1),
    ],
)
def test_differences_see_structure_and_tolerance(stored, again, count):
    assert len(list(gallery.differences(stored, again, TOLERANCE))) == count
