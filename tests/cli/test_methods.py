import argparse
from dataclasses import dataclass, fields

import pytest

from minilora.adapters import METHODS, Method
from minilora.cli import methods
from minilora.gallery import COMMITTED, load, select


def parsed(*argv):
    parser = argparse.ArgumentParser()
    methods.add_arguments(parser)
    return parser.parse_args(argv)


def test_every_field_of_every_method_is_an_option():
    options = vars(parsed())
    for method in METHODS.values():
        assert {field.name for field in fields(method.config)} <= options.keys()
    assert all(value is None for value in options.values())


def test_options_become_a_config():
    words = '--r 4 --lora-alpha 0.5 --use-rslora --target-modules q_proj,up_proj --rank-pattern {"q_proj":2}'
    args = parsed(*words.split())
    config = methods.config_of("lora", methods.given(args))
    assert (config.r, config.lora_alpha, config.use_rslora) == (4, 0.5, True)
    assert config.target_modules == ("q_proj", "up_proj") and config.rank_pattern == {"q_proj": 2}
    assert methods.config_of("lora", {}).target_modules == "all-linear"


def test_alpha_is_r_unless_it_is_given():
    assert methods.config_of("lora", {"r": 4}).lora_alpha == 4
    assert methods.config_of("lora", {"r": 4, "lora_alpha": 16}).lora_alpha == 16
    assert methods.config_of("lora", {}).lora_alpha == methods.DEFAULTS["lora"]["r"]


@pytest.mark.parametrize(
    ("method", "values", "decay"),
    [
        ("lora", {}, methods.DECAY),
        ("lora", {"init_lora_weights": "gaussian", "use_dora": True}, methods.DECAY),
        ("lora", {"init_lora_weights": "pissa"}, 0),
        ("lora", {"modules_to_save": ("norm",)}, 0),
        ("bottleneck", {}, 0),
        ("partial", {"norms": True}, 0),
    ],
)
def test_what_the_model_knows_does_not_decay_unasked(method, values, decay):
    assert methods.default_decay(method, methods.config_of(method, values)) == decay


@pytest.mark.parametrize(
    ("method", "values", "side"),
    [
        ("bottleneck", {"bottleneck_size": 4}, "bottleneck"),
        ("prefix", {}, "prefix"),
        ("prefix", {"prefix_projection": True}, "prefix by an MLP"),
        ("prompt", {}, "prompt"),
        ("partial", {"norms": True}, "last block"),
        ("partial", {"last_blocks": 0, "norms": True}, "norms"),
        ("full", {"target_modules": "all-linear"}, "full, same linears"),
        ("full", {}, "full"),
    ],
)
def test_a_method_starts_at_the_rate_that_the_figure_found_best(method, values, side):
    records = load(select(["methods"])[0], COMMITTED)["numbers"]["records"]
    _, middle, _ = sorted(entries[side]["best"] for entries in records.values())
    assert methods.default_rate(method, methods.config_of(method, values)) == middle


def test_every_rate_of_the_table_is_one_that_help_shows_or_a_setting_leads_to():
    assert methods.default_rate("lora", methods.config_of("lora", {"use_dora": True})) == methods.RATE
    assert f"{methods.RATE:g} for lora" in methods.shown_rates()
    for method, side in (
        ("bottleneck",) * 2,
        ("prefix",) * 2,
        ("prompt",) * 2,
        ("partial", "last block"),
        ("full",) * 2,
    ):
        assert f"{methods.LEARNING_RATES[side]:g} for {method}" in methods.shown_rates()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("all-linear", "all-linear"),
        ("q_proj", ("q_proj",)),
        (r".*\.q_proj", r".*\.q_proj"),
        ("mlp.up_proj,x", ("mlp.up_proj", "x")),
    ],
)
def test_target_modules_are_names_or_an_expression(text, value):
    assert parsed("--target-modules", text).target_modules == value


def test_words_may_be_true_or_none():
    assert parsed("--init-lora-weights", "true").init_lora_weights is True
    assert parsed("--init-lora-weights", "gaussian").init_lora_weights == "gaussian"


def test_an_option_of_another_method_is_refused():
    with pytest.raises(ValueError, match="--method bottleneck has no --r; it has --bottleneck-size, --target-modules"):
        methods.config_of("bottleneck", {"r": 4})


def test_a_method_that_is_registered_has_its_options(monkeypatch):
    @dataclass(frozen=True)
    class Config:
        depth: int = 3
        gentle: bool = False

    monkeypatch.setitem(METHODS, "new", Method("new", Config, None, None, None))
    args = parsed("--method", "new", "--depth", "5", "--gentle")
    assert methods.config_of("new", methods.given(args)) == Config(5, True)


def test_bad_words_are_named(capsys):
    for argv in (("--rank-pattern", "[1]"), ("--r", "many"), ("--method", "magic")):
        with pytest.raises(SystemExit):
            parsed(*argv)
        assert argv[0] in capsys.readouterr().err
