"""Merging into four bits, in miniature."""

import copy

import numpy as np
import pytest

from minilora.experiments.finetuning import settings
from minilora.experiments.quantization import merge_into_4bit
from minilora.experiments.quantization.merge_into_4bit import Config, random_shares, run, share_kept
from minilora.plots.quantization.merge_into_4bit import caption, gain_kept


def test_the_share_is_a_regression_coefficient():
    rng = np.random.default_rng(0)
    wanted = [rng.standard_normal((40, 30)), rng.standard_normal((20, 20))]
    noise = [rng.standard_normal(w.shape) for w in wanted]
    assert share_kept(wanted, wanted) == pytest.approx(1)
    assert share_kept([w / 4 for w in wanted], wanted) == pytest.approx(0.25)
    assert share_kept([w + 3 * n for w, n in zip(wanted, noise, strict=True)], wanted) == pytest.approx(1, abs=0.3)


def test_small_updates_are_rounded_back_and_large_ones_are_kept():
    small, middle, large = random_shares((Config(sizes=(0.01, 0.1, 0.3)), "nf4", 0))
    assert small < 0.05 < 0.8 < middle < 0.9 < 0.97 < large < 1.02


def tiny(config):
    """A run of three steps; its adapter is small."""
    return [merge_into_4bit.Run("roman", 1e-3, 0, settings=settings(r=2, lora_alpha=2, target_modules="all-linear"),
                                steps=3, batch_size=4, n_train=16, n_eval=16, **merge_into_4bit.CODE)]  # fmt: skip


@pytest.fixture(scope="module")
def numbers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_into_4bit, "_runs", tiny)
        patch.setattr(merge_into_4bit, "SHOWN", 1)
        return run(Config(sizes=(0.01, 0.1), codes=("nf4",), share_seeds=(0,)))


def test_a_small_trained_adapter_survives_on_the_original_weights_alone(numbers):
    roman = numbers["adapters"][0]
    assert roman["size"] < 0.02 and roman["share"] < 0.1
    assert gain_kept(roman, "beside") == 1
    assert gain_kept(roman, "requantized") < 0.4
    assert set(roman["said"]) == {"input", "wanted", "before", *merge_into_4bit.WAYS}


def test_merging_beside_is_the_adapter_itself(numbers):
    result = numbers["adapters"][0]
    model, trainer = merge_into_4bit.prepared(tiny(None)[0])
    trainer.train()
    assert result["ways"]["beside"]["loss"] == pytest.approx(trainer.evaluate()["loss"], rel=1e-4)


@pytest.fixture
def two_seeds(numbers):
    other = copy.deepcopy(numbers)
    other["adapters"] = [other["adapters"][0], copy.deepcopy(other["adapters"][0])]
    for i, adapter in enumerate(other["adapters"]):
        for place, way in enumerate(merge_into_4bit.WAYS):
            adapter["ways"][way] = {"loss": 0.2 + 0.01 * i + 0.1 * place, "exact": 0.9 - 0.1 * i - 0.2 * place}
    return other


def test_the_caption_takes_its_numbers_from_the_numbers(two_seeds):
    text = caption(two_seeds)
    assert "a random update of rank 8 keeps 0.02 at |dW|/|W| = 0.01, 0.84 at |dW|/|W| = 0.1" in text
    assert (
        "exact answers are 85.0 (80.0 to 90.0) % beside or merged in float, 65.0 (60.0 to 70.0) % quantized again"
        in text
    )
    two_seeds["shares"]["nf4"] = [[0.5], [0.75]]
    assert "keeps 0.50 at |dW|/|W| = 0.01, 0.75 at" in caption(two_seeds)


def test_the_base_of_the_training_is_called_better_only_where_it_is(two_seeds):
    assert "by -0.200 ± 0.000 in float, -0.200 ± 0.000 quantized: large adapters have learned" in caption(two_seeds)
    two_seeds["adapters"][1]["ways"]["original"]["loss"] = 0.1  # better than beside: the seeds do not agree
    assert "quantized: not a difference in both" in caption(two_seeds)
