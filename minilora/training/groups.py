"""Which parameters decay, and how: decoupled (beside the gradient) or L2 (through it)."""

from collections.abc import Iterable

from minilora import checks
from minilora.nn.module import Parameter

DECAYS = ("decoupled", "l2")


def decay_groups(parameters: Iterable[Parameter], weight_decay: float) -> list[dict]:
    """Groups for AdamW: matrices decay, gains (one axis) do not, as is usual for transformers."""
    checks.real("weight_decay", weight_decay, low=0)
    parameters = list(parameters)
    matrices = [p for p in parameters if p.value.ndim > 1]
    gains = [p for p in parameters if p.value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def add_l2_gradient(parameters: Iterable[Parameter], weight_decay: float) -> None:
    """g = g + weight_decay p, in place: the gradient of weight_decay / 2 |p|², for matrices alone.

    Adam then divides it by the size of the gradient, so that parameters with large gradients hardly decay (Loshchilov &
    Hutter 2019, arXiv 1711.05101, section 2); decoupled decay does not depend on the gradient.
    """
    checks.real("weight_decay", weight_decay, low=0)
    for parameter in parameters:
        if parameter.grad is not None and parameter.value.ndim > 1:
            parameter.grad += weight_decay * parameter.value
