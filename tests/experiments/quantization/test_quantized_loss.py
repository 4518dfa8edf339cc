import numpy as np
import pytest

from minilora import load_base
from minilora.experiments.quantization.quantized_loss import Config, Setting, held_out, run, window_losses


def test_windows_are_scored_one_by_one():
    ids, labels = held_out(3)
    losses = window_losses(load_base(), ids, labels)
    assert losses.mean() == pytest.approx(float(load_base().loss(ids, labels, inference=True)[0]), rel=1e-5)
    assert losses.std() > 0


def test_fewer_bits_cost_more_loss():
    numbers = run(Config(settings=(Setting("nf4"), Setting("nf2"), Setting("nf4", 32)), windows=4))
    found = numbers["settings"]
    assert list(found) == ["nf4", "nf2", "nf4, 32"]
    assert found["nf2"]["change"] > 0.3 > abs(found["nf4"]["change"])
    assert found["nf4"]["bits"] == 4.5 and found["nf4, 32"]["bits"] == 5
    assert found["nf4, 32"]["error"] < found["nf4"]["error"] < found["nf2"]["error"]
    assert np.isfinite(found["nf2"]["standard_error"])
