"""What training does to singular vectors: on a training too short to do much."""

import numpy as np
import pytest

from minilora.adapters import linear_paths
from minilora.experiments.rank import delta_spectrum
from minilora.experiments.rank.delta_spectrum import Config, run


@pytest.fixture(scope="module")
def numbers():
    """Of the first block's layers alone, which takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta_spectrum, "linear_paths", lambda model: dict(list(linear_paths(model).items())[:7]))
        return run(Config(ranks=(2, 4), steps=2, batch_size=4, seeds=(0,), kept=(1, 2, 4), k=2))


def test_every_linear_layer_is_looked_at_for_each_method(numbers):
    assert len(numbers["modules"]) == 7 and numbers["modules"][:2] == ["q_proj", "k_proj"]
    for name in ("intruders", "amplification"):
        for kind in ("trained", "random"):
            assert {m: len(seeds[0]) for m, seeds in numbers[name][kind].items()} == dict.fromkeys(numbers["loss"], 7)
    left = np.array(numbers["left"])
    assert left.shape == (1, 7, 3) and (np.diff(left) < 0).all() and (left > 0).all() and (left < 1).all()


def test_two_steps_make_no_intruder_and_hardly_turn_a(numbers):
    assert np.sum(numbers["intruders"]["trained"]["2"]) == 0
    drawn, trained = (np.array(numbers["similarity"][kind]) for kind in ("drawn", "trained"))
    assert drawn.shape == (1, 2, 3)
    np.testing.assert_allclose(trained, drawn, atol=0.05)
    # two random directions of 128 share max(i, j) / 128 on average
    assert drawn[0, 1, 2] == pytest.approx(4 / 128, abs=0.02)
