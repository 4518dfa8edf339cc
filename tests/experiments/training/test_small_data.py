"""Few records: one knob differs at a time, each side stands at its own best rate, with curves of all seeds."""

from dataclasses import fields, replace

import pytest

from minilora.experiments.training.small_data import Config, full, recipe, run, turned

CONFIG = Config()


def changed(one, other):
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


@pytest.mark.parametrize(
    "knob, value, names",
    [
        ("epochs", 32, {"steps", "eval_steps"}),
        ("batch", 64, {"steps", "eval_steps", "batch_size"}),
        ("dropout", 0.3, {"settings"}),
        ("decay", 0.5, {"weight_decay"}),
        ("L2", 0.01, {"weight_decay", "weight_decay_type"}),
    ],
)
def test_a_knob_changes_itself_and_nothing_else(knob, value, names):
    default, other = recipe(CONFIG), turned(CONFIG, knob, value)
    assert changed(default, other) == names
    assert other.steps * other.batch_size == default.steps * default.batch_size * (2 if knob == "epochs" else 1)
    if knob == "dropout":
        assert set(other.settings) ^ set(default.settings) == {("lora_dropout", 0.3)}


def test_full_fine_tuning_follows_the_same_recipe_and_an_unknown_knob_is_named():
    assert changed(recipe(CONFIG), full(CONFIG)) == {"method", "settings", "learning_rate"}
    with pytest.raises(ValueError, match="knob must be one of epochs, .*; got 'rank'"):
        turned(CONFIG, "rank", 1)


def test_every_value_has_a_sweep_of_its_own_around_the_defaults_best():
    asked = []

    def each(function, items):
        asked.extend(items)
        curve = [{"step": step, "loss": 1.0, "exact": 0.5, "train_loss": 0.1} for step in (8, 16)]
        best = {i: 0.006 / (1 + 3 * i.weight_decay) for i in items}
        return [{"loss": abs(i.learning_rate - best[i]), "exact": 0.5, "curve": curve} for i in items]

    config = replace(CONFIG, knobs=(("batch", (8, 64)), ("decay", (1.0,))))
    numbers = run(config, each)
    assert len(set(asked)) == len(asked)
    assert numbers["default"]["best"] == 0.006 and numbers["knobs"]["decay"][0]["best"] == 0.0015
    small, large = numbers["knobs"]["batch"]
    assert (small["value"], large["value"], large["rates"]) == (8, 64, [0.003, 0.006, 0.012])
    assert small["epoch"] == [0.25, 0.5] and large["epoch"] == [2, 4] and numbers["default"]["epoch"] == [0.5, 1]
    seeds = len(config.seeds)
    assert large["held_out"] == [[1.0] * seeds] * 2 and large["train"] == [[0.1] * seeds] * 2


def test_it_trains_in_miniature():
    config = Config(n_train=4, n_eval=4, r=2, epochs=1, batch_size=2, points=2, seeds=(0,), knobs=(("L2", (1.0,)),))
    numbers = run(config)
    assert numbers["default"]["loss"][0] == numbers["default"]["held_out"][-1][0]
    assert numbers["default"]["epoch"] == [0.5, 1.0]
