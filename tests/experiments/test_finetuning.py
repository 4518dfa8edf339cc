"""A fine-tuning run carries every method, and each setting arrives where it acts."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.adapters import METHODS, LoraConfig, QuantizedLinear, active_adapter, adapter_layers
from minilora.experiments.finetuning import LORA, Run, measure, method_config, prepared, settings, train

SMALL = Run("dates", 1e-3, 0, steps=2, batch_size=4, n_train=16, n_eval=8)
CASES = {
    "lora": ("lora", settings(r=2)),
    "rslora": ("lora", settings(r=2, use_rslora=True)),
    "dora": ("lora", settings(r=2, use_dora=True)),
    "pissa": ("lora", settings(r=2, init_lora_weights="pissa")),
    "loftq": ("lora", settings(r=2, init_lora_weights="loftq")),
    "learned alpha": ("lora", settings(r=2, trainable_alpha=True)),
    "last block and LoRA": ("lora", settings(r=2, modules_to_save=("layers.4",))),
    "bottleneck": ("bottleneck", settings(bottleneck_size=2)),
    "prefix": ("prefix", settings(num_virtual_tokens=2)),
    "prefix by an MLP": ("prefix", settings(num_virtual_tokens=2, prefix_projection=True, encoder_hidden_size=4)),
    "prompt": ("prompt", settings(num_virtual_tokens=2)),
    "last block": ("partial", settings(last_blocks=1)),
    "norms": ("partial", settings(last_blocks=0, norms=True)),
    "same linears": ("full", settings(target_modules="all-linear")),
    "full": ("full", settings()),
}


@pytest.mark.parametrize("case", CASES)
def test_every_method_trains_its_own_parameters_and_nothing_else(case):
    method, values = CASES[case]
    model, trainer = prepared(replace(SMALL, method=method, settings=values))
    before = {name: p.value.copy() for name, p in model.named_parameters()}
    numbers = measure(model, trainer)
    after = dict(model.named_parameters())
    assert numbers["parameters"] == sum(p.size for p in after.values() if p.trainable) > 0
    assert np.isfinite(numbers["loss"]) and numbers["curve"][-1]["step"] == 2
    moved = {name for name, p in after.items() if not np.array_equal(p.value, before[name])}
    assert moved and all(after[name].trainable for name in moved)


def test_every_method_that_there_is_has_a_case():
    assert {method for method, _ in CASES.values()} == METHODS.keys()


def test_settings_are_equal_and_hash_alike_in_any_order_and_patterns_come_back_as_dicts():
    one = settings(r=4, rank_pattern={"q_proj": 2, "mlp.up_proj": 8})
    other = settings(rank_pattern={"mlp.up_proj": 8, "q_proj": 2}, r=4)
    assert one == other and hash(one) == hash(other)
    assert method_config(replace(SMALL, settings=one)) == LoraConfig(r=4, rank_pattern={"q_proj": 2, "mlp.up_proj": 8})
    assert method_config(SMALL) == LoraConfig(**dict(LORA))


def test_what_a_run_says_of_training_arrives():
    run = replace(
        SMALL,
        settings=settings(r=2, trainable_alpha=True),
        loraplus_lr_ratio=16.0,
        alpha_lr_ratio=0.5,
        weight_decay=0.1,
        weight_decay_type="l2",
        lr_scheduler_type="linear",
        warmup_steps=0,
        min_lr_ratio=0.25,
        max_grad_norm=5.0,
    )
    _, trainer = prepared(run)
    for name in (
        "learning_rate",
        "loraplus_lr_ratio",
        "alpha_lr_ratio",
        "weight_decay",
        "weight_decay_type",
        "lr_scheduler_type",
        "warmup_steps",
        "min_lr_ratio",
        "max_grad_norm",
    ):
        assert getattr(trainer.config, name) == getattr(run, name), name
    assert {group["lr"] for group in trainer.optimizer.groups} == {1e-3, 16e-3, 0.5e-3}
    assert prepared(replace(SMALL, steps=100))[1].config.warmup_steps == 5


def test_the_base_is_quantized_first():
    model, _ = prepared(replace(SMALL, code="nf4", double_quant=True))
    kinds = [type(layer.base_layer) for layer in adapter_layers(model).values()]
    assert active_adapter(model) == "default" and set(kinds) == {QuantizedLinear}


def test_dropout_changes_training_and_not_scoring():
    dropped = replace(SMALL, settings=settings(r=2, lora_dropout=0.5))
    assert train(dropped)["before"] == train(replace(SMALL, settings=settings(r=2)))["before"]
    assert train(dropped)["loss"] != train(replace(SMALL, settings=settings(r=2)))["loss"]


def test_more_numbers_can_be_asked_for():
    _, trainer = prepared(replace(SMALL, score_training=True), also=lambda model: {"seventeen": 17})
    assert trainer.evaluate().keys() == {"loss", "exact", "train_loss", "train_exact", "seventeen"}


def test_a_run_that_diverges_says_where():
    numbers = train(replace(SMALL, learning_rate=1e30, steps=4, max_grad_norm=1e30))
    assert numbers["loss"] is None and numbers["exact"] is None
    assert numbers["curve"][-1] == {"step": numbers["curve"][-1]["step"], "loss": None, "exact": None}
    assert 0 < numbers["curve"][-1]["step"] < 4 and np.isfinite(numbers["before"])


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="method must be one of lora, .*; got 'nonsense'"):
        prepared(replace(SMALL, method="nonsense"))
