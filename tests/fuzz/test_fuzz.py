"""A short slice of `make fuzz`: damaged and forged files of each kind."""

import numpy as np
import pytest
from file_forge import content, damage, forge
from file_kinds import KINDS, make_kind
from soak import fate, soak

from minilora import storage
from minilora.adapters import adapter_names

COUNTS = dict.fromkeys(KINDS, 25) | {"base": 100, "adapter, lora": 100, "checkpoint": 100}


@pytest.mark.parametrize("make", [damage, forge])
def test_no_broken_file_is_loaded_wrongly(tmp_path, make):
    report = soak(tmp_path, COUNTS, 1, make)
    assert [line for row in report.values() for line in row["failures"]] == []
    assert all(row["fates"]["refused"] > 0.6 * COUNTS[name] for name, row in report.items())  # they are broken


@pytest.fixture
def prompt(tmp_path):
    kind = make_kind("adapter, prompt", tmp_path)
    kind.reset = lambda reset=kind.reset: reset() if adapter_names(kind.model) else None
    return kind


def crash(sound):
    raise KeyError("x")


def silent(sound):
    raise ValueError("no")


def greedy(sound):
    np.zeros(2 * len(sound) + 40_000, np.uint8)


@pytest.mark.parametrize(
    ("carelessness", "verdict"), [(crash, "other exception"), (silent, "unnamed"), (greedy, "memory")]
)
def test_the_judge_finds_a_careless_loader(prompt, carelessness, verdict):
    sound, load = prompt.path.read_bytes(), prompt.load
    prompt.load = lambda: (carelessness(sound), load())
    assert fate(prompt, sound, sound)[0] == verdict


def test_the_judge_finds_a_changed_model_and_a_lost_value(prompt):
    sound, load, again = prompt.path.read_bytes(), prompt.load, prompt.again

    def changes():
        prompt.model.norm.weight.value[0] += 1
        load()

    prompt.load = changes
    assert fate(prompt, sound[:-1], sound)[0] == "changed"

    def loses():
        path = again()
        arrays, metadata = storage.load_arrays(path)
        storage.save_arrays(path, arrays, metadata | {"notes": {}})
        return path

    prompt.load, prompt.again, prompt.before = load, loses, None
    assert fate(prompt, sound, b"")[0] == "refused"  # another base than the file's
    prompt.model.norm.weight.value[0] -= 1
    prompt.before = None
    assert fate(prompt, sound, b"")[0] == "silently wrong"


def test_forged_files_have_right_checksums(tmp_path):
    """It is their content that is wrong: zipfile finds no bad checksum, and many can be read by it and numpy."""
    storage.save_arrays(tmp_path / "x.npz", {"a": np.zeros(3)}, {"step": 1})
    sound = (tmp_path / "x.npz").read_bytes()
    readable = 0
    for i in range(60):
        try:
            content(forge(sound, np.random.default_rng(i)))
            readable += 1
        except Exception as error:
            assert "CRC" not in str(error)
    assert readable > 10
