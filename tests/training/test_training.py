import math

import numpy as np
import pytest

from minilora import AdamW, Llama, LlamaConfig, Trainer, TrainingConfig
from minilora.nn import Parameter
from minilora.training import clip_grad_norm, lr_factor


def test_first_adamw_step_is_the_sign_and_decay_is_decoupled():
    p = Parameter(np.array([2.0, -2.0, 2.0]))
    p.grad = np.array([0.5, -3.0, 0.0])
    AdamW([p], lr=0.1, weight_decay=0.2).step()
    np.testing.assert_allclose(
        p.value, np.array([2.0, -2.0, 2.0]) * (1 - 0.1 * 0.2) - 0.1 * np.array([1, -1, 0]), rtol=1e-7
    )


def test_adamw_finds_a_minimum():
    p = Parameter(np.array([5.0, -4.0]))
    optimizer = AdamW([p], lr=0.1, weight_decay=0.0)
    for _ in range(500):
        p.grad = 2 * (p.value - np.array([1.0, 2.0]))
        optimizer.step()
    np.testing.assert_allclose(p.value, [1, 2], atol=1e-3)


def test_groups_have_rates_of_their_own():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    a.grad = b.grad = np.ones(2)
    AdamW([{"params": [a]}, {"params": [b], "lr": 0.16}], lr=0.01, weight_decay=0.0).step()
    np.testing.assert_allclose((1 - b.value) / (1 - a.value), 16)


def test_clipping_scales_all_together():
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros(2))
    a.grad, b.grad = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    assert clip_grad_norm([a, b], 1.0) == 5.0
    np.testing.assert_allclose([a.grad[0], b.grad[1]], [0.6, 0.8])
    assert clip_grad_norm([a, b], 10.0) == pytest.approx(1.0)
    np.testing.assert_allclose(a.grad[0], 0.6)


def test_schedule():
    def cosine(step):
        return lr_factor(step, max_steps=110, warmup_steps=10, floor=0.1)

    assert [cosine(0), cosine(9), cosine(10)] == [0.1, 1.0, 1.0]
    assert cosine(60) == pytest.approx(0.55) and cosine(110) == pytest.approx(0.1)
    assert lr_factor(60, max_steps=110, warmup_steps=10, kind="linear") == 0.5
    assert lr_factor(60, max_steps=110, kind="constant") == 1.0


SMALL = LlamaConfig(
    vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=32
)


def make(tmp_path=None, steps=12, evaluate=None):
    model = Llama(SMALL, rng=np.random.default_rng(0))
    config = TrainingConfig(
        max_steps=steps, learning_rate=1e-2, warmup_steps=2, save_steps=4 if tmp_path else 0, eval_steps=5
    )

    def batches(step):
        ids = np.random.default_rng([1, step % 3]).integers(0, 37, (4, 9))
        return ids[:, :-1], ids[:, 1:]

    return model, Trainer(model, config, batches, output_dir=tmp_path, evaluate=evaluate)


def test_training_lowers_the_loss_and_repeats_bit_for_bit():
    (one, trainer), (two, other) = make(steps=30), make(steps=30)
    history = trainer.train()
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history == other.train()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_evaluation_every_so_often_and_at_the_end():
    _, trainer = make(evaluate=lambda: {"x": 1.0})
    assert [entry["step"] for entry in trainer.train()["eval"]] == [5, 10, 12]


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    whole, trainer = make()
    history = trainer.train()
    killed, trainer = make(tmp_path)
    batches = trainer.batches

    def dies(step):
        if step == 10:
            raise KeyboardInterrupt
        return batches(step)

    trainer.batches = dies
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    resumed, trainer = make(tmp_path)
    assert trainer.train()["loss"] == history["loss"]
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    make(tmp_path)[1].train()
    with pytest.raises(ValueError, match="another config"):
        make(tmp_path, steps=16)[1].train()


def test_divergence_is_said(tmp_path):
    model, trainer = make()
    model.norm.weight.value[:] = np.float32(np.inf)
    with pytest.raises(ValueError, match="diverged at step 0"), np.errstate(all="ignore"):
        trainer.train()
    assert math.isinf(model.norm.weight.value[0])
