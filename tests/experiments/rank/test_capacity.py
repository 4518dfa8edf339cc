"""How many bits an adapter holds."""

import numpy as np
import pytest

from minilora.data.records import IGNORED
from minilora.experiments.rank.capacity import Config, Run, adapted, drawn_pairs, pairs, parameters, run, shape, store
from minilora.training import DivergenceError, Trainer

SMALL = Run(r=2, pairs=8, learning_rate=0.02, seed=0, steps=60, hidden_size=16, layers=1)


def test_keys_are_all_different_and_only_the_value_counts():
    token_ids, labels = drawn_pairs(500, 0)
    assert len(np.unique(token_ids, axis=0)) == 500
    assert (labels[:, 0] == IGNORED).all() and (labels[:, 1] >= 0).all() and len(np.unique(labels[:, 1])) > 150
    assert not np.array_equal(drawn_pairs(500, 1)[0], token_ids)


def test_what_fits_is_stored_and_no_more_than_was_offered():
    scores = store(SMALL)
    assert scores["known"] == 1.0 and 0.9 * 8 * 8 < scores["bits"] <= 8 * 8


def test_nothing_is_stored_by_chance():
    """One step at a tiny rate: worse than guessing, which counts as nothing."""
    assert store(Run(r=1, pairs=64, learning_rate=1e-6, seed=0, steps=1, hidden_size=16, layers=1))["bits"] == 0


def test_an_offer_is_counted_in_bits_per_parameter():
    config = Config(hidden_size=16, layers=1)
    for r in (1, 2):
        model = adapted(shape(16, 1), r, 0)
        trained = sum(p.value.size for p in model.parameters() if p.trainable)
        assert parameters(config, r) == trained and pairs(config, r, 2.0) * 8 == pytest.approx(2 * trained, abs=4)


def test_training_that_diverged_stores_nothing_and_has_no_loss(monkeypatch):
    def diverge(self):
        raise DivergenceError("loss is nan")

    monkeypatch.setattr(Trainer, "train", diverge)
    assert store(SMALL) == {"loss": None, "bits": 0.0, "known": 0.0}


def test_every_offer_has_a_rate_of_its_own():
    """The more is offered, the lower is the best rate of this fake."""

    def fake(function, runs):
        return [{"loss": abs(run.learning_rate * run.pairs - 4), "bits": 8.0, "known": run.seed} for run in runs]

    asked = []

    def each(function, runs):
        asked.extend(runs)
        return fake(function, runs)

    config = Config(ranks=(1, 2), offered=(1.0, 2.0), rate=0.1, factor=2.0, seeds=(0, 1), hidden_size=16, layers=1)
    found = run(config, each)["ranks"]["1"]
    assert found["pairs"] == [38, 77] and found["rate"] == [0.1, 0.05]
    assert found["rates"] == [[0.05, 0.1, 0.2], [0.025, 0.05, 0.1, 0.2]]
    assert found["sweep"][0] == pytest.approx([abs(rate * 38 - 4) for rate in (0.05, 0.1, 0.2)])
    assert found["around"] == [[0.05, 0.1], [0.025, 0.05]]
    assert len(asked) == len(set(asked))
    assert found["known"] == [[0, 1], [0, 1]] and found["bits"][0] == [8.0 / found["parameters"]] * 2


def test_a_rate_at_which_a_seed_fails_gives_way_to_the_next_lower_one():
    """The sweep's seed bears 0.2 and likes it, two others do, the first one diverges there: the median would not mind."""

    def fake(function, runs):
        losses = [(None if run.seed == 0 else 1.0) if run.learning_rate > 0.15 else 2.0 for run in runs]
        return [{"loss": loss, "bits": 8.0 if loss else 0.0, "known": 0.5} for loss in losses]

    config = Config(ranks=(1,), offered=(1.0,), rate=0.1, factor=2.0, seeds=(0, 1, 2), hidden_size=16, layers=1)
    found = run(config, fake)["ranks"]["1"]
    assert found["around"] == [[0.1, 0.2]] and found["loss"] == [[[2.0, 2.0, 2.0], [None, 1.0, 1.0]]]
    assert found["rate"] == [0.1] and found["bits"] == [[8.0 / found["parameters"]] * 3]
