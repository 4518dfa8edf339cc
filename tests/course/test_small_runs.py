"""The small runs fail as the lesson says, whatever the seed; and each sick one has its own cause."""

import numpy as np
import pytest

from minilora.course.small_runs import SICK, sick_run, small_run

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_cause_has_its_sign(seed):
    good = small_run(seed=seed)
    assert good["held_out"][-1] < 0.5 and abs(good["held_out"][-1] - good["train"][-1]) < 0.05
    high = small_run(rate=1.0, seed=seed)
    assert max(high["train"]) > 100 and high["train"][-1] > 1.5 * good["train"][-1]
    short = small_run(steps=30, seed=seed)
    assert short["held_out"][-1] < 0.95 * short["held_out"][-1 - len(short["step"]) // 4]
    few = small_run(records=48, seed=seed)
    assert few["train"][-1] < 0.3 < 1.2 * min(few["held_out"]) < few["held_out"][-1]
    little = small_run(r=1, seed=seed)
    assert (
        abs(little["held_out"][-1] - little["train"][-1]) < 0.1 and little["held_out"][-1] > 1.5 * good["held_out"][-1]
    )
    assert abs(1 - little["held_out"][-1] / little["held_out"][-8]) < 0.05


def test_the_sick_ones_have_the_signs_of_the_answer():
    P, Q, R, S = (sick_run(letter) for letter in "PQRS")
    assert P["train"][-1] < 0.3 and P["held_out"][-1] > 1.2 * min(P["held_out"])
    assert abs(Q["train"][-1] - Q["held_out"][-1]) < 0.1 and abs(1 - Q["held_out"][-1] / Q["held_out"][-8]) < 0.05
    assert max(R["train"]) > 100
    assert S["held_out"][-1] < 0.95 * S["held_out"][-8] and abs(S["train"][-1] - S["held_out"][-1]) < 0.1
    assert list(SICK) == list("PQRS")


def test_the_same_seed_gives_the_same_run_and_losses_begin_at_one():
    one, other = small_run(steps=6, seed=5), small_run(steps=6, seed=5)
    assert one == other and one["step"] == list(range(7))
    assert np.allclose([one["train"][0], one["held_out"][0]], 1)


def test_a_learned_alpha_ends_where_a_fixed_one_does_and_moves_by_its_own_rate():
    fixed, learned = (small_run(steps=100, alpha_rate=ratio)["held_out"] for ratio in (0, 10))
    assert fixed != learned and abs(fixed[-1] - learned[-1]) < 0.01
