import numpy as np
import pytest

from minilora import AdamW
from minilora.nn import Parameter
from minilora.training import clip_grad_norm


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


def parameters(dtype=np.float64):
    """Small ones that are joined, a large one that is not, and a transposed one."""
    rng = np.random.default_rng(0)
    shapes = (3, 4), (5,), (400, 300), (1,), (2, 2, 2), (300, 400)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    arrays.append(rng.standard_normal((4, 3)).astype(dtype).T)
    return [Parameter(array) for array in arrays]


def by_the_formulas(p, gradients, *, lr, betas, eps, weight_decay):
    """AdamW as its docstring says it, one parameter alone."""
    value, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        if g is None:
            continue
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        value -= lr * weight_decay * value
        value -= lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return value


@pytest.mark.parametrize(
    "without", [(), (1, 4), (2,)], ids=["all have gradients", "two small ones not", "a large one not"]
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_joined_parameters_are_updated_as_each_alone(monkeypatch, without, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    params, rng = parameters(), np.random.default_rng(1)
    before = [p.value.copy() for p in params]
    settings = {
        "lr": 0.05,
        "betas": (0.8, 0.95),
        "eps": 0.3,
        "weight_decay": 0.1,
    }  # eps so large that its place matters
    optimizer = AdamW(params, **settings)
    gradients = [[rng.standard_normal(p.shape) for p in params] for _ in range(3)]
    for i in without:
        gradients[1][i] = None
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = None if g is None else g.copy()
        optimizer.step()
    for i, (p, start) in enumerate(zip(params, before, strict=True)):
        expected = by_the_formulas(start, [step[i] for step in gradients], **settings)
        np.testing.assert_allclose(p.value, expected, rtol=1e-12, atol=1e-14, err_msg=str(i))


def test_two_dtypes_in_one_group():
    params = [Parameter(np.ones(2, np.float32)), Parameter(np.ones(2)), Parameter(np.ones(3))]
    optimizer = AdamW(params, weight_decay=0.0)
    for p in params:
        p.grad = np.ones_like(p.value)
    optimizer.step()
    assert [p.value.dtype for p in params] == [np.float32, np.float64, np.float64]
    assert {name: a.dtype for name, a in optimizer.state().items() if name.endswith("m")} == {
        "0.0.m": np.float32,
        "0.1.m": np.float64,
        "0.2.m": np.float64,
    }


def stepped(seed=0):
    params = parameters()
    optimizer = AdamW([{"params": params[:4]}, {"params": params[4:], "lr": 0.5}], lr=0.1)
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = rng.standard_normal(p.shape)
    optimizer.step()
    return params, optimizer


def test_state_goes_into_another_optimizer_by_copy():
    (params, optimizer), (_, other) = stepped(), stepped(1)
    state = {name: array.copy() for name, array in optimizer.state().items()}
    assert {name: a.shape for name, a in state.items() if name.endswith(".v")} == {
        "0.0.v": (3, 4),
        "0.1.v": (5,),
        "0.2.v": (400, 300),
        "0.3.v": (1,),
        "1.0.v": (2, 2, 2),
        "1.1.v": (300, 400),
        "1.2.v": (3, 4),
    }
    assert optimizer.nbytes == 2 * sum(p.value.nbytes for p in params)
    optimizer.step()
    other.load_state(state)
    for name, array in other.state().items():
        np.testing.assert_array_equal(array, state[name])
        assert not np.shares_memory(array, state[name])
    other.step()
    for name in ("0.0.m", "1.1.m"):
        assert not np.array_equal(other.state()[name], state[name])  # what was loaded stays the caller's


def test_every_mismatch_is_listed_and_nothing_changes():
    _, optimizer = stepped()
    before = {name: array.copy() for name, array in optimizer.state().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["0.1.m"]
    state |= {
        "9.9.m": np.ones(2),
        "0.0.v": np.ones((4, 3)),
        "0.3.m": np.ones(1, np.float32),
        "1.0.m": np.full((2, 2, 2), np.nan),
    }
    state |= {"1.0.v": np.full((2, 2, 2), -1.0), "steps": np.array(1.5), "0.3.v": [1.0]}
    with pytest.raises(ValueError) as caught:
        optimizer.load_state(state)
    named = ("0.0.v", "0.3.m", "0.3.v", "steps")
    parts = [
        "missing: 0.1.m",
        "unexpected: 9.9.m",
        "1.0.m holds",
        "1.0.v holds",
        *(f"{name} should be" for name in named),
    ]
    for part in parts:
        assert part in str(caught.value)
    for name, array in optimizer.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({}, TypeError, "params must be.*{}"),
        (0, TypeError, "params must be.*0"),
        (None, TypeError, "params must be.*None"),
        (Parameter(np.ones(2)), TypeError, "params must be.*Parameter"),
        ([], ValueError, "params must hold at least one"),
        ([Parameter(np.ones(2)), {"params": []}], TypeError, "params must be.*'params'"),
        ([3], TypeError, "params must be.*got 3"),
        ([{"params": 3}], TypeError, "params must be.*got 3"),
        ([{"params": [], "betas": 1}], ValueError, "may hold params, lr and weight_decay, got .*betas"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(params, error, message):
    with pytest.raises(error, match=message):
        AdamW(params)


@pytest.mark.parametrize("bad", [0, {}, [], None])
def test_a_state_that_is_none_is_refused(bad):
    with pytest.raises((TypeError, ValueError), match="arrays must be"):
        stepped()[1].load_state(bad)


def test_a_step_count_below_zero_is_refused():
    _, optimizer = stepped()
    with pytest.raises(ValueError, match="steps holds values that no step leaves behind"):
        optimizer.load_state(optimizer.state() | {"steps": np.array(-1)})
    assert optimizer.steps == 1
