"""The study of finetune's defaults: every run is asked for once, fresh draws had no part in the choice, the CLI starts there."""

from dataclasses import asdict

from minilora.cli import finetune, methods
from minilora.experiments.few_records import Recipe
from minilora.experiments.training.finetune_defaults import Config, run
from minilora.gallery import COMMITTED, load, select

SCORES = {"held_out": 0.5, "exact": 0.25, "loss": 1.0, "train_loss": 0.1}


def test_every_run_is_asked_for_once_and_lands_where_it_belongs():
    asked = []

    def fake(function, runs):
        asked.extend(runs)
        return [SCORES | {"exact": run.seed / 100, "loss": float(run.n_records)} for run in runs]

    config = Config()
    numbers = run(config, fake)
    assert len(set(asked)) == len(asked)
    assert [entry["draws"] for entry in numbers["tried"]] == [list(draws) for _, draws in config.tried]
    assert numbers["chosen"]["exact"] == [draw / 100 for draw in config.fresh]
    assert numbers["chosen"]["recipe"] == asdict(config.chosen) and numbers["plain"]["recipe"] == asdict(config.plain)
    assert [entry["loss"][0] for entry in numbers["more"]] == [float(n) for n in config.more_records]


def test_the_choice_saw_no_fresh_draw():
    config = Config()
    seen = {draw for _, draws in config.tried for draw in draws}
    assert not seen & set(config.fresh) and len(config.fresh) >= 5
    assert config.chosen in [recipe for recipe, _ in config.tried]


def test_finetune_starts_with_what_the_figure_confirmed():
    recipe = load(select(["finetune_defaults"])[0], COMMITTED)["numbers"]["chosen"]["recipe"]
    assert recipe == asdict(Config().chosen)
    assert set(recipe) == set(asdict(Recipe()))
    config = methods.config_of("lora", {})
    lora = asdict(config)
    assert lora["lora_alpha"] == lora["r"]
    own = {"weight_decay": methods.default_decay("lora", config), "learning_rate": methods.default_rate("lora", config)}
    started = {**finetune.DEFAULTS, **lora, **own}
    assert {name: started[name] for name in recipe} == recipe
    assert finetune.DEFAULTS["warmup_steps"] is None and finetune.DEFAULTS["eval_fraction"] == 0.1
