import numpy as np
import pytest

from minilora import AdamW, LoraConfig, Trainer, TrainingConfig, apply_lora
from minilora.nn import Parameter
from minilora.training.groups import add_l2_gradient, decay_groups, rate_groups


def test_matrices_decay_and_gains_do_not():
    matrix, gain = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    groups = decay_groups([gain, matrix], 0.1)
    assert groups == [{"params": [matrix], "weight_decay": 0.1}, {"params": [gain], "weight_decay": 0.0}]
    assert decay_groups([gain], 0.1) == [{"params": [gain], "weight_decay": 0.0}]


def test_l2_is_the_gradient_of_half_the_squared_norm():
    matrix, gain, idle = Parameter(np.full((2, 2), 3.0)), Parameter(np.ones(2)), Parameter(np.ones((1, 1)))
    matrix.grad, gain.grad = np.full((2, 2), 0.5), np.zeros(2)
    add_l2_gradient([matrix, gain, idle], 0.1)
    np.testing.assert_allclose(matrix.grad, 0.5 + 0.1 * 3.0)
    np.testing.assert_array_equal(gain.grad, 0)
    assert idle.grad is None


def test_adam_all_but_undoes_l2_where_gradients_are_large():
    """What decoupling is for: with L2 the decay is divided by the gradient's size, decoupled it is not."""
    moved = {}
    for kind in ("decoupled", "l2"):
        p = Parameter(np.full((1, 1), 10.0))
        optimizer = AdamW(decay_groups([p], 0.1 if kind == "decoupled" else 0.0), lr=0.01, weight_decay=0.0)
        for step in range(100):
            p.grad = np.full((1, 1), 100.0 * (-1) ** step)  # large, and zero on average
            if kind == "l2":
                add_l2_gradient([p], 0.1)
            optimizer.step()
        moved[kind] = 10.0 - p.value[0, 0]
    assert 0.9 < moved["decoupled"] < 1.1  # 10 (1 - (1 - .01 * .1)^100) = .95
    assert moved["l2"] < 0.2


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="weight_decay must be at least 0, got -1"):
        decay_groups([], -1)


@pytest.fixture
def named():
    return {
        "q_proj.lora_A": Parameter(np.ones((2, 3))),
        "q_proj.lora_B": Parameter(np.ones((3, 2))),
        "q_proj.lora_alpha": Parameter(np.ones(1)),
        "norm.weight": Parameter(np.ones(3)),
    }


def test_each_parameter_has_its_rate(named):
    groups = rate_groups(named, 0.01, 0.1, loraplus_lr_ratio=16.0, alpha_lr_ratio=0.5)
    by_parameter = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    expected = {"lora_A": (0.01, 0.1), "lora_B": (0.16, 0.1), "lora_alpha": (0.005, 0.0), "weight": (0.01, 0.0)}
    for path, parameter in named.items():
        assert by_parameter[id(parameter)] == expected[path.rpartition(".")[2]]


def test_without_a_ratio_they_are_the_plain_groups(named):
    del named["q_proj.lora_alpha"]
    plain = decay_groups(named.values(), 0.1)
    assert rate_groups(named, 0.01, 0.1) == [group | {"lr": 0.01} for group in plain]
    for settings, message in (
        ({"loraplus_lr_ratio": 0}, "loraplus_lr_ratio"),
        ({"alpha_lr_ratio": -1}, "alpha_lr_ratio"),
    ):
        with pytest.raises(ValueError, match=message):
            rate_groups(named, 0.01, **settings)


def test_the_trainer_uses_them(make_model, rng):
    """Adam's first step is the rate, whatever the gradient: B moves 16 times as far, alpha a fifth."""
    model, ids = make_model(), rng.integers(0, 37, (2, 6))
    apply_lora(model, LoraConfig(r=2, trainable_alpha=True), rng=rng)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if name.endswith("lora_B"):
            parameter.value[...] = rng.standard_normal(parameter.shape)
    before = {name: p.value.copy() for name, p in parameters.items() if p.trainable}
    config = TrainingConfig(
        max_steps=1, learning_rate=0.01, lr_scheduler_type="constant", loraplus_lr_ratio=16.0, alpha_lr_ratio=0.2
    )
    Trainer(model, config, lambda step: (ids, ids)).train()
    rates = {"lora_A": 0.01, "lora_B": 0.16, "lora_alpha": 0.002}
    for name, start in before.items():
        moved = np.abs(parameters[name].value - start).max()
        assert moved == pytest.approx(rates[name.rpartition(".")[2]], rel=1e-3)
