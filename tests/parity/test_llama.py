"""Against transformers' LlamaForCausalLM and torch autograd, on random weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from minilora import AdamW, generate  # noqa: E402
from minilora.nn import Parameter, checkpoint_blocks  # noqa: E402
from minilora.training import clip_grad_norm  # noqa: E402

SHAPES = {
    "grouped heads": {},
    "one key/value head": {"num_key_value_heads": 1},
    "untied": {"tie_word_embeddings": False},
    "all heads": {"num_key_value_heads": 4},
    "wide heads": {"head_dim": 20, "rope_theta": 500.0},
    "linear rope scaling": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama3 rope scaling": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,  # so that pairs of all three kinds are there
        }
    },
    "deep": {"num_hidden_layers": 4, "hidden_size": 32},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 2e-4)])
@pytest.mark.parametrize("length", [1, 13])
def test_logits_loss_and_every_gradient(twins, shape, dtype, tolerance, length):
    ours, theirs, weights = twins(0, dtype, **shape)
    rng = np.random.default_rng(1)
    ids, labels = rng.integers(0, 61, (2, 3, length))
    labels[0, : length // 2] = -100

    logits = theirs(torch.tensor(ids)).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1))
    loss.backward()
    our_logits, _ = ours(ids)
    our_loss, backward = ours.loss(ids, labels)
    backward()
    np.testing.assert_allclose(our_logits, logits.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert our_loss == pytest.approx(loss.item(), rel=tolerance)
    for name, parameter in theirs.named_parameters():
        gradient = parameter.grad.numpy()
        error = np.abs(weights[name].grad - gradient).max()
        assert error <= tolerance * max(np.abs(gradient).max(), 1e-3), name


def test_greedy_generation_token_for_token(twins):
    ours, theirs, _ = twins(2, np.float64)
    ids = np.random.default_rng(3).integers(0, 61, (3, 5))
    out = theirs.generate(
        torch.tensor(ids),
        attention_mask=torch.ones(3, 5),
        max_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
        use_cache=True,
    )
    np.testing.assert_array_equal(generate(ours, ids, 20), out.numpy())


def test_adamw_is_torchs():
    rng = np.random.default_rng(0)
    w, gradients = rng.standard_normal((4, 3)), rng.standard_normal((20, 4, 3))
    ours, theirs = Parameter(w.copy()), torch.nn.Parameter(torch.tensor(w))
    one = AdamW([ours], lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    other = torch.optim.AdamW([theirs], lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    for g in gradients:
        ours.grad, theirs.grad = g.copy(), torch.tensor(g)
        one.step()
        other.step()
        np.testing.assert_allclose(ours.value, theirs.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("length", [9, 24])  # attention in one piece, and in blocks
@pytest.mark.parametrize("checkpointing", [False, True])
def test_three_steps_of_training(twins, length, checkpointing):
    """Forward, backward, clipping and AdamW: the losses, the norms and the weights stay torch's."""
    ours, theirs, weights = twins(4, np.float64)
    if checkpointing:
        checkpoint_blocks(ours)
    rng = np.random.default_rng(5)
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-4, "weight_decay": 0.1}
    one = AdamW(list(weights.values()), **settings)
    other = torch.optim.AdamW(theirs.parameters(), **settings)
    for _ in range(3):
        ids, labels = rng.integers(0, 61, (2, 4, length))
        labels[0, : length // 2] = -100
        one.zero_grad()
        loss, backward = ours.loss(ids, labels)
        backward()
        norm = clip_grad_norm(weights.values(), 0.5)
        one.step()
        other.zero_grad()
        logits = theirs(torch.tensor(ids)).logits
        their_loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1))
        their_loss.backward()
        their_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        other.step()
        assert norm > 0.5, "clipping must act"
        assert loss == pytest.approx(their_loss.item(), rel=1e-6)
        assert norm == pytest.approx(their_norm.item(), rel=1e-5)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(weights[name].value, parameter.detach().numpy(), atol=2e-5, err_msg=name)
