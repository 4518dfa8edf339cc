"""The methods that are compared: all there are, each under a name of its own."""

from minilora.adapters import METHODS, LoraConfig
from minilora.experiments.finetuning import LORA, method_config
from minilora.experiments.methods.sides import SIDES, lora, sides


def test_every_method_is_among_them_and_every_config_holds():
    assert {side.method for side in SIDES} == METHODS.keys()
    assert len({side.name for side in SIDES}) == len(
        {(s.method, s.settings, s.code, s.loraplus_lr_ratio) for s in SIDES}
    )
    for side in SIDES:
        assert type(method_config(side.run("dates"))) is METHODS[side.method].config


def test_loras_variants_are_among_them():
    configs = [method_config(side.run("dates")) for side in SIDES if side.method == "lora"]
    assert {config.init_lora_weights for config in configs} == {True, "pissa", "loftq"}
    for option in ("use_dora", "use_rslora", "trainable_alpha", "modules_to_save"):
        assert any(getattr(config, option) for config in configs), option
    assert any(side.loraplus_lr_ratio > 1 for side in SIDES)
    assert LoraConfig(**dict(LORA)) in configs


def test_a_run_takes_what_it_is_given_over_what_the_side_says():
    side = sides("LoRA+ (16)")[0]
    run = side.run("roman", 3, learning_rate=0.5, steps=7)
    assert (run.task, run.seed, run.learning_rate, run.steps) == ("roman", 3, 0.5, 7)
    assert run.loraplus_lr_ratio == 16 and side.run("roman").learning_rate == side.rate
    assert [side.name for side in sides("full", "LoRA")] == ["full", "LoRA"]
    assert dict(lora(use_dora=True)) == dict(LORA) | {"use_dora": True}
