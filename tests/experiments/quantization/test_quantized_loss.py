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
    settings = numbers["settings"]
    assert list(settings) == ["nf4", "nf2", "nf4, 32"]
    assert settings["nf2"]["change"] > 0.3 > abs(settings["nf4"]["change"])
    assert settings["nf4"]["bits"] == 4.5 and settings["nf4, 32"]["bits"] == 5
    assert settings["nf4, 32"]["error"] < settings["nf4"]["error"] < settings["nf2"]["error"]
    assert np.isfinite(settings["nf2"]["standard_error"])
