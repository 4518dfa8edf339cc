"""AdamW and gradient clipping, in place on Parameters."""

import math
from collections.abc import Iterable

import numpy as np

from minilora import checks
from minilora.nn.module import Parameter


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2).

    At step t, for a parameter p with gradient g:

        m = beta1 m + (1 - beta1) g                  the gradient, averaged
        v = beta2 v + (1 - beta2) g²                 its square, averaged
        p = p - lr weight_decay p                    decay: beside the gradient, not through it
        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    `params`: Parameters, or dicts {"params": [...], "lr": ..., "weight_decay": ...} for groups with settings of their
    own (what a group leaves out is the optimizer's). A parameter without a gradient is left alone. Memory: two arrays
    of each parameter's size. Raises ValueError or TypeError for settings out of range, no parameters, or one listed twice.
    """

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers such as (0.9, 0.999), got {checks.shown(betas)}")
        self.betas = tuple(
            checks.real(f"betas[{i}]", beta, low=0, below=1, hint="try (0.9, 0.999)") for i, beta in enumerate(betas)
        )
        self.eps = checks.real("eps", eps, above=0)
        self.groups = _groups(params, checks.real("lr", lr, low=0), checks.real("weight_decay", weight_decay, low=0))
        self.steps = 0
        self._moments = [[_moments(p) for p in group["params"]] for group in self.groups]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        beta1, beta2 = self.betas
        correction1 = 1.0 - beta1**self.steps
        correction2 = math.sqrt(1.0 - beta2**self.steps)
        for group, moments in zip(self.groups, self._moments, strict=True):
            lr, weight_decay = group["lr"], group["weight_decay"]
            for parameter, (m, v) in zip(group["params"], moments, strict=True):
                g = parameter.grad
                if g is None:
                    continue
                m *= beta1
                m += (1.0 - beta1) * g
                v *= beta2
                update = g * g
                update *= 1.0 - beta2
                v += update
                np.sqrt(v, out=update)
                update /= correction2
                update += self.eps
                np.divide(m, update, out=update)
                update *= lr / correction1
                if weight_decay:
                    parameter.value *= 1.0 - lr * weight_decay
                parameter.value -= update

    def zero_grad(self) -> None:
        """Forget the gradients of all its parameters."""
        for group in self.groups:
            for parameter in group["params"]:
                parameter.zero_grad()

    @property
    def nbytes(self) -> int:
        """Bytes of optimizer state: both moments of every parameter."""
        return sum(m.nbytes + v.nbytes for moments in self._moments for m, v in moments)

    def state(self) -> dict[str, np.ndarray]:
        """The moments and the step count, as named arrays (the arrays themselves, not copies)."""
        arrays = {"steps": np.array(self.steps)}
        for name, m, v in self._named():
            arrays[f"{name}.m"], arrays[f"{name}.v"] = m, v
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave. ValueError if names or shapes are not those of this optimizer."""
        mine = self.state()
        checks.mapping("arrays", arrays)
        if set(arrays) != set(mine) or any(np.shape(arrays[name]) != np.shape(mine[name]) for name in mine):
            raise ValueError(
                "arrays must be the state of an optimizer over the same parameters; names or shapes differ"
            )
        self.steps = int(arrays["steps"])
        for name, m, v in self._named():
            m[...], v[...] = arrays[f"{name}.m"], arrays[f"{name}.v"]

    def _named(self):
        for i, moments in enumerate(self._moments):
            for j, (m, v) in enumerate(moments):
                yield f"{i}.{j}", m, v


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients together so that their common norm is at most `max_norm`; returns the norm before.

    Pascanu et al. 2013 (arXiv 1211.5063), algorithm 1.
    """
    max_norm = checks.real("max_norm", max_norm, above=0)
    gradients = [p.grad for p in _parameters("parameters", parameters) if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if norm > max_norm:
        for g in gradients:
            g *= max_norm / norm
    return norm


def _groups(params, lr, weight_decay):
    if isinstance(params, (dict, str, bytes, np.ndarray)) or not isinstance(params, Iterable):
        raise TypeError(f"params must be Parameters or groups of them in a list, got {checks.shown(params)}")
    params = list(params)
    if not params:
        raise ValueError("params must hold at least one Parameter, got none; is everything frozen?")
    groups = [{"params": params}]
    if all(isinstance(group, dict) for group in params):
        groups = [checks.mapping("params", group) for group in params]
    seen = set()
    for group in groups:
        if unknown := set(group) - {"params", "lr", "weight_decay"}:
            raise ValueError(f"a parameter group in params may hold params, lr and weight_decay, got {sorted(unknown)}")
        group["params"] = _parameters("params", group.get("params"))
        group["lr"] = checks.real("lr", group.get("lr", lr), low=0)
        group["weight_decay"] = checks.real("weight_decay", group.get("weight_decay", weight_decay), low=0)
        for parameter in group["params"]:
            if id(parameter) in seen:
                raise ValueError(f"params must list each Parameter once, got {parameter} twice")
            seen.add(id(parameter))
    return groups


def _parameters(name, values):
    if isinstance(values, (dict, str, bytes, np.ndarray)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be Parameters in a list, got {checks.shown(values)}; try model.parameters()")
    values = list(values)
    for value in values:
        checks.instance(name, value, Parameter, hint="pass those of model.parameters() that are trainable")
    return values


def _moments(parameter):
    return np.zeros_like(parameter.value), np.zeros_like(parameter.value)
