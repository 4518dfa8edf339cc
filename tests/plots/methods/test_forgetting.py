"""Learned against forgotten: what the caption claims needs every seed."""

import copy

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.experiments.methods.forgetting import SIDES, Config
from minilora.plots.methods.forgetting import LAYOUT, LOOKS, caption, draw
from minilora.plots.methods.forgetting_caption import (
    across,
    ahead_of,
    at_equal_learning,
    at_equal_steps,
    before_training,
    by_rate,
    by_size,
    slower,
    worse_than_guessing,
)
from minilora.plots.methods.forgetting_paths import FULL, at_level, chance, correlations, movers

NAMES = [side.name for side in SIDES]
NEAR = (-0.01, 0.0, 0.01)  # three seeds
STILL = ("norms", "bottleneck", "prefix", "prompt")


def at(rate, loss, rise, size, half):
    """Two evaluations; at the first one half of the text's rise, unless `half` says what."""
    half = rise / 2 if half is None else half
    return {
        "rate": rate,
        "loss": [[3.0, loss + d] for d in NEAR],
        "exact": [[0.0, 0.5]] * 3,
        "text": [[1.0 + half, 1.0 + rise + d] for d in NEAR],
        "size": [[size / 2, size]] * 3,
    }


def entry(loss=0.75, rise=2.0, size=0.1, slow=None, half=None):
    """A method; `slow`: its loss and rise at half the rate."""
    return {
        "parameters": 1000,
        "step": [1, 2],
        "sweep": [{"rate": 0.01 * 2.0**i, "loss": loss + abs(i), "text": 1.0 + rise * 2.0**i} for i in (-1, 0, 1)],
        "best": 0.01,
        "before": {"loss": [6.0] * 3, "text": [1.0] * 3},
        "at": [at(0.01, loss, rise, size, half), *([at(0.005, *slow, size, None)] if slow else [])],
    }


def numbers(**changed):
    methods = {name: entry(size=0.1 * (name not in STILL)) for name in NAMES}
    methods["LoRA, r = 8"], methods[FULL] = entry(slow=(0.75, 2.0)), entry(slow=(0.75, 2.0))
    return {
        "task": "roman",
        "steps": 2,
        "batch_size": 16,
        "windows": 4,
        "factor": 0.5,
        "base": 1.0,
        "methods": methods | {name.replace("_", " "): value for name, value in changed.items()},
    }


def rising(order, **others):
    """Every method, in this order, with a rise that grows and whatever else each is given of its place."""
    return {
        name: entry(rise=1.0 + 0.2 * i, **{key: value(i) for key, value in others.items()})
        for i, name in enumerate(order)
    }


def test_every_method_has_a_look_of_its_own():
    assert set(LOOKS) == {side.name for side in Config().sides}
    assert len({shade for shade, _ in LOOKS.values()}) == len({mark for _, mark in LOOKS.values()}) == len(LOOKS)


def test_what_comes_down_to_a_level_is_on_the_line_between_evaluations():
    assert at_level(2.0, [8.0, 4.0, 0.0], [1.0, 3.0, 5.0]) == pytest.approx(4.0)
    assert at_level(4.0, [8.0, 4.0, 0.0], [1.0, 3.0, 5.0]) == pytest.approx(3.0)
    assert at_level(3.0, [8.0, 2.0, 4.0, 1.0], [0.0, 6.0, 9.0, 9.0]) == pytest.approx(5.0)  # the first time
    assert at_level(-1.0, [8.0, 4.0, 0.0], [1.0, 3.0, 5.0]) is None
    assert at_level(9.0, [8.0, 4.0], [1.0, 3.0]) is None  # before the first evaluation


def test_what_is_within_the_seeds_is_no_difference():
    assert at_equal_steps(numbers()).endswith(
        "in every seed: learned less: none; learned more: none; forgot less: none; forgot more: none."
    )
    assert ", less in every seed: none; more: none" in at_equal_learning(numbers())


def test_at_equal_steps_and_at_equal_learning_are_told_apart():
    """PiSSA learned less and forgot less in the end, yet more where the task's loss was the same; DoRA the other way round."""
    data = numbers(PiSSA=entry(loss=0.9, rise=1.9, half=1.8), DoRA=entry(loss=0.6, rise=2.1, half=0.5))
    text = at_equal_steps(data)
    assert "learned less: PiSSA; learned more: DoRA; forgot less: PiSSA; forgot more: DoRA." in text
    text = at_equal_learning(data)
    assert (
        "loss is 1.5, which 13 methods came to, the rise is" in text
        and "less in every seed: DoRA; more: PiSSA." in text
    )
    assert "loss is 1.75" not in text  # drawn, but not said
    assert "loss is 0.5" not in text  # nobody got there


def test_a_relation_over_methods_needs_every_seed_beyond_chance():
    assert chance(13) == pytest.approx(0.560, abs=0.01)  # tables of the exact distribution: 0.560, and 0.700
    assert chance(9) == pytest.approx(0.700, abs=0.01)
    one = rising(NAMES, loss=lambda i: 1.0 - 0.05 * i)
    assert "is 1.00 (1.00 to 1.00 by seed;" in across(numbers(**one))
    assert across(numbers(**one)).endswith("19 cases of 20): what learned less forgot less.")
    assert across(numbers(**rising(NAMES, loss=lambda i: 0.5 + 0.05 * i))).endswith(": what learned less forgot more.")
    mixed = across(numbers(**rising(NAMES, loss=lambda i: 0.5 + 0.05 * (i * 5 % 13))))
    assert mixed.endswith(": no relation beyond chance in any seed.")
    data = numbers(**one)
    for name in NAMES:  # in one seed alone the other way round
        data["methods"][name]["at"][0]["loss"][2][-1] = 2.0 - data["methods"][name]["at"][0]["loss"][1][-1]
    assert "-1.00 to 1.00 by seed" in across(data) and across(data).endswith("no relation beyond chance in every seed.")
    few = numbers()
    few["methods"] = {name: few["methods"][name] for name in NAMES[:3]}
    assert across(few) == "" == by_size(few)


def test_rank_correlations_are_taken_seed_by_seed():
    x = {"a": [1, 1], "b": [2, 2], "c": [3, 30]}
    y = {"c": [5, 1], "a": [1, 5], "b": [4, 4]}
    assert correlations(x, y) == pytest.approx([1.0, -1.0])
    tied = correlations({"a": [1], "b": [2], "c": [2]}, {"a": [1], "b": [2], "c": [3]})
    assert tied == pytest.approx([np.sqrt(3) / 2])
    assert correlations(x, dict.fromkeys("abc", [1, 1])) == [0.0, 0.0]


def test_the_size_of_the_update_is_asked_of_those_that_change_the_linear_layers():
    assert set(movers(numbers())) == set(NAMES) - set(STILL)
    moved = [name for name in NAMES if name not in STILL]
    text = by_size(numbers(**rising(moved, size=lambda i: 0.1 + 0.01 * i, loss=lambda i: 0.5 + 0.05 * i)))
    assert "Over the 9 that change the linear layers, the rank correlation of |dW| / |W| and forgotten is 1.00" in text
    assert "what moved the weights further forgot more. Where |dW| / |W| is 0.1, which 9 methods came to" in text
    text = by_size(numbers(**rising(moved, size=lambda i: 0.305 - 0.01 * i)))
    assert "what moved the weights further forgot less. Where |dW| / |W| is 0.22," in text


def test_where_the_weights_have_moved_as_far_learning_and_forgetting_are_compared_again():
    moved = [name for name in NAMES if name not in STILL]
    less = by_size(numbers(**rising(moved, size=lambda i: 0.2, loss=lambda i: 1.0 - 0.05 * i)))
    assert "Where |dW| / |W| is 0.2, which 9 methods came to, the rise is +1.00 (LoRA, r = 1) to +2.60 (full);" in less
    assert "(+2.40), less in every seed: all others but full; more: full;" in less
    assert less.endswith("what learned less forgot less.")
    more = by_size(numbers(**rising(moved, size=lambda i: 0.2, loss=lambda i: 0.5 + 0.05 * i)))
    assert more.endswith("what learned less forgot more.")
    # Where the first evaluation of one is beyond the size already, that one is not compared.
    data = numbers(**rising(moved, size=lambda i: 0.2))
    data["methods"]["PiSSA"]["at"][0]["size"] = [[0.3, 0.5]] * 3
    assert "is 0.2, which 8 methods came to" in by_size(data)


def test_a_lower_rate_is_compared_at_equal_steps_and_at_equal_learning():
    data = numbers(**{"LoRA, r = 8": entry(slow=(0.9, 1.0)), FULL: entry(slow=(0.752, 3.0))})
    lora, full = slower(data).split(f". {FULL}")
    assert (
        "With 0.5 times its best rate LoRA, r = 8 ends with a task's loss of 0.90 instead of 0.75 (more in every"
        in lora
    )
    assert "a rise of +1.00 instead of +2.00 (less in every seed); at a task's loss of 1.5, +" in lora
    assert "0.75 instead of 0.75 (no difference beyond the seeds) and a rise of +3.00 instead of +2.00 (more in" in full
    assert lora.endswith(f"; against {FULL} at its best rate that rise is less in every seed")
    assert "loss of 0.5" not in slower(data)
    data["methods"] = {name: entry() for name in NAMES}
    assert slower(data) == ""


def test_full_fine_tuning_at_a_lower_rate_is_ahead_only_where_it_learns_more_and_forgets_less_than_either_rate():
    ahead, forgets, learns = entry(slow=(0.9, 1.9)), entry(slow=(0.9, 0.4)), entry(loss=0.5)
    data = numbers(**{FULL: entry(loss=0.3, slow=(0.6, 0.5)), "LoRA, r = 8": ahead, "DoRA": forgets, "PiSSA": learns})
    data["methods"] = {name: data["methods"][name] for name in ("LoRA, r = 8", "DoRA", "PiSSA", FULL)}
    assert "has learned more and forgotten less, in every seed, than LoRA, r = 8, at each rate" in ahead_of(data)
    data["methods"][FULL] = entry()
    assert ahead_of(data) == ""


def test_the_sweeps_say_what_the_next_lower_rate_forgets():
    assert (
        "the rate below the best one forgets less for 13 of 13 methods: in the median 0.50 times the rise"
        in by_rate(numbers())
    )
    data = numbers()
    data["methods"]["norms"]["sweep"][0]["text"] = 9.0
    data["methods"]["prompt"]["sweep"][0] |= {"loss": None, "text": None}
    assert "for 11 of 12 methods (not for norms): in the median 0.50 times the rise, with 2.33 times" in by_rate(data)


def test_a_step_of_the_rate_is_set_against_what_parts_methods():
    near = by_rate(numbers())
    assert near.endswith("Of the 78 pairs of methods, each at its best rate, 78 are closer to each other than that.")
    far = {name: entry(rise=3.0**i) for i, name in enumerate(NAMES)}
    assert by_rate(numbers(**far)).endswith("times the task's loss.")


def test_what_the_text_costs_before_training_is_named_where_it_is_more():
    assert before_training(numbers()) == ""
    data = numbers()
    data["methods"]["prompt"]["before"]["text"] = [1.03, 1.04, 1.05]
    data["methods"]["prefix"]["before"]["text"] = [0.99, 1.01, 1.01]
    assert before_training(data) == "Of that before training: prefix +0.010 · prompt +0.040."


def test_many_methods_are_named_by_those_that_are_not_among_them():
    data = numbers(**{name: entry(loss=0.9) for name in NAMES if name not in (FULL, "full")})
    assert "learned less: all others but full; learned more: none" in at_equal_steps(data)
    data = numbers(**{name: entry(loss=0.9) for name in NAMES if name != FULL})
    assert "learned less: all others; learned more: none" in at_equal_steps(data)


def test_only_what_is_worse_than_guessing_in_every_seed_is_called_so():
    guess = np.log(256) - 1
    assert worse_than_guessing(numbers()) == "" == worse_than_guessing(numbers(full=entry(rise=guess)))
    text = worse_than_guessing(numbers(full=entry(rise=guess + 0.1)))
    assert text == "A rise above +4.55 is worse than guessing every byte alike: full, in every seed."


def test_a_method_with_a_run_that_diverged_is_named_and_not_compared():
    data = numbers()
    gone = copy.deepcopy(data["methods"]["PiSSA"])
    for kind in ("loss", "exact", "text", "size"):
        gone["at"][0][kind][1] = [gone["at"][0][kind][1][0], None]
    data["methods"]["PiSSA"] = gone
    text = caption(data)
    assert "Not compared, because a run diverged: PiSSA." in text and "PiSSA 0.7" not in text
    assert "Over the 12 methods" in text
    figure, axes = plt.subplots(2, 2)
    draw(axes, data)
    plt.close(figure)


def test_the_caption_says_what_was_run_and_whose_rate_stands_at_an_end():
    text = caption(numbers())
    assert "LoRA, r = 8 0.75 and +2.00" in text and "Equal steps of batch 16, 3 seeds" in text
    assert "at an end of its sweep" not in text and "diverged" not in text
    data = numbers()
    data["methods"]["norms"]["best"] = 0.02
    assert "so that a better one may lie beyond: norms;" in caption(data)


def test_every_method_is_drawn_and_one_that_leaves_the_weights_alone_has_no_size():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, numbers())
    (ends, equal), (sizes, rates) = axes
    assert len(ends.containers) == len(NAMES) + 2 and len(sizes.containers) == len(NAMES) - len(STILL) + 2
    assert [tick.get_text() for tick in equal.get_yticklabels()] and len(equal.get_yticks()) == len(NAMES)
    assert len([line for line in rates.lines if len(line.get_xdata()) == 3]) == len(NAMES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*NAMES, "0.5 x its rate"]
    plt.close(figure)
