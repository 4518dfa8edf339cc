"""LoRA on the base's own text wins back what quantizing took."""

from dataclasses import replace

import pytest

from minilora.assets import load_base
from minilora.experiments.own_text import TextRun, train_on_text
from minilora.experiments.quantization.quantized_loss import held_out, window_losses

SMALL = TextRun(0.003, 0, steps=6, batch_size=2, length=256, windows=3)


def test_two_bits_take_loss_and_a_few_steps_win_some_of_it_back():
    floats, two_bits = (train_on_text(replace(SMALL, code=code)) for code in (None, "nf2"))
    assert floats["before"] == pytest.approx(window_losses(load_base(), *held_out(3)).mean(), rel=1e-5)
    assert two_bits["before"] - floats["before"] > 0.5
    assert two_bits["loss"] - floats["loss"] < 0.9 * (two_bits["before"] - floats["before"])


def test_a_run_that_diverges_has_no_loss():
    found = train_on_text(replace(SMALL, learning_rate=1e30, steps=3))
    assert found["loss"] is None and found["before"] > 0
