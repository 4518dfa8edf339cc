"""LoRA against a change of known rank."""

import numpy as np
import pytest

from minilora.experiments.rank.rank_known import Config, bound, inputs, run, teacher, truncated

SMALL = Config(in_features=6, out_features=5, true_rank=2, ranks=(1, 2), steps=5, seeds=(0, 1))


def test_training_never_beats_the_bound_and_reaches_it():
    numbers = run(Config(in_features=16, out_features=12, true_rank=3, ranks=(1, 3, 5), steps=600, seeds=(0,)))
    for kind in ("known", "decaying", "correlated"):
        for fit, least in zip(numbers[kind]["fit"][0], numbers[kind]["bound"][0], strict=True):
            assert least - 1e-9 <= fit <= least + 1e-3
    assert numbers["known"]["fit"][0][0] > 0.6 and numbers["known"]["fit"][0][1] < 1e-3  # the knee


def test_the_runs_go_through_the_each_that_is_given():
    given = []

    def backwards(function, items):
        given.extend(items)
        return [function(item) for item in reversed(items)][::-1]

    assert run(SMALL, backwards) == run(SMALL)
    assert len(given) == 6


@pytest.mark.parametrize(
    ("kind", "singular"), [("known", [1, 1, 0, 0, 0]), ("decaying", [1, 0.8, 0.64, 0.512, 0.4096])]
)
def test_a_teacher_has_the_singular_values_that_it_says(kind, singular):
    change = teacher(kind, SMALL, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.svd(change, compute_uv=False), singular, atol=1e-12)
    squares = np.square(singular)
    np.testing.assert_allclose(bound(change, (0, 1, 5)), [1, 1 - squares[0] / squares.sum(), 0], atol=1e-12)


def test_the_truncated_svd_is_the_best_for_isotropic_inputs_alone():
    change = teacher("decaying", SMALL, np.random.default_rng(0))
    one, correlated = inputs("decaying", SMALL), inputs("correlated", SMALL)
    np.testing.assert_allclose(truncated(change, (1, 2), one), bound(change, (1, 2), one), atol=1e-12)
    assert all(
        svd > best + 1e-3
        for svd, best in zip(truncated(change, (1, 2), correlated), bound(change, (1, 2), correlated), strict=True)
    )
