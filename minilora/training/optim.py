"""AdamW and gradient clipping, in place on Parameters."""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from minilora import checks
from minilora.machine import in_threads, one_blas_thread
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
        self._parts = [part for i, group in enumerate(self.groups) for part in _parts(i, group["params"])]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        in_threads(self._update, self._parts)  # independent of each other: the same bits in any order

    def _update(self, part):
        """One step of what stands in `part`, several small parameters as one array."""
        if any(p.grad is None for p in part.parameters):  # those are left alone, the others updated one by one
            for p, m, v in part.each():
                if p.grad is not None:
                    self._update(_Part(part.group, [p], m.reshape(-1), v.reshape(-1)))
            return
        group = self.groups[part.group]
        update = self._adam(part.gradient(), part.m, part.v, group["lr"])
        for p, change in zip(part.parameters, part.split(update), strict=True):
            if group["weight_decay"]:
                p.value *= 1.0 - group["lr"] * group["weight_decay"]
            p.value -= change

    def _adam(self, g, m, v, lr):
        """Take g into the averages m and v, in place; returns what to subtract.    each: (n,)"""
        beta1, beta2 = self.betas
        m *= beta1
        m += (1.0 - beta1) * g
        update = g * g
        update *= 1.0 - beta2
        v *= beta2
        v += update
        # lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
        np.sqrt(v, out=update)
        update /= math.sqrt(1.0 - beta2**self.steps)
        update += self.eps
        np.divide(m, update, out=update)
        update *= lr / (1.0 - beta1**self.steps)
        return update

    def zero_grad(self) -> None:
        """Forget the gradients of all its parameters."""
        for group in self.groups:
            for parameter in group["params"]:
                parameter.zero_grad()

    @property
    def nbytes(self) -> int:
        """Bytes of optimizer state: both moments of every parameter."""
        return sum(part.m.nbytes + part.v.nbytes for part in self._parts)

    def state(self) -> dict[str, np.ndarray]:
        """The moments and the step count, as named arrays (the arrays themselves, not copies).

        Names count groups and the parameters in them: "0.3.m" and "0.3.v" belong to the fourth parameter of the first group.
        """
        arrays, count = {"steps": np.array(self.steps)}, [0] * len(self.groups)
        for part in self._parts:
            for _, m, v in part.each():
                name = f"{part.group}.{count[part.group]}"
                arrays[f"{name}.m"], arrays[f"{name}.v"] = m, v
                count[part.group] += 1
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy what `state` gave into this optimizer. ValueError, listing every mismatch, before anything is changed, if names,
        shapes or dtypes are not those of this optimizer or a value is not a finite number."""
        checks.mapping("arrays", arrays)
        mine = self.state()
        wrong = [f"missing: {name}" for name in mine if name not in arrays]
        wrong += [f"unexpected: {name}" for name in arrays if name not in mine]
        for name in (name for name in mine if name in arrays):
            wrong += _mismatch(name, mine[name], arrays[name])
        if wrong:
            raise ValueError(
                "arrays must be the state of an AdamW over the same parameters, got " + "; ".join(wrong) + "; "
                "build the optimizer as it was when the state was saved"
            )
        self.steps = int(arrays["steps"])
        for name in mine:
            if name != "steps":
                mine[name][...] = arrays[name]


def _mismatch(name, mine, other):
    """What is wrong with `other` as the new content of `mine`, as a list of at most one text."""
    if not isinstance(other, np.ndarray) or other.shape != mine.shape or other.dtype != mine.dtype:
        return [f"{name} should be {checks.shown(mine)}, is {checks.shown(other)}"]
    if not np.isfinite(other).all() or (name.endswith(".v") and (other < 0).any()) or (name == "steps" and other < 0):
        return [f"{name} holds values that no step leaves behind (negative or not finite)"]
    return []


# Values: small parameters are joined up to here, for a call to numpy costs as much as a thousand values.
TOGETHER = 2**16


class _Part:
    """Parameters of one group that are updated as one array, and their moments, flat.    m, v: (n,)"""

    def __init__(self, group: int, parameters: list[Parameter], m: np.ndarray, v: np.ndarray):
        self.group, self.parameters, self.m, self.v = group, parameters, m, v

    def gradient(self) -> np.ndarray:
        """The gradients one after the other; that of a single parameter as it is.    (n,)"""
        if len(self.parameters) == 1:
            return self.parameters[0].grad.reshape(-1)
        return np.concatenate([p.grad.reshape(-1) for p in self.parameters])

    def split(self, flat: np.ndarray) -> Iterator[np.ndarray]:
        """Views of an array (n,) in the shapes of the parameters."""
        end = 0
        for p in self.parameters:
            start, end = end, end + p.size
            yield flat[start:end].reshape(p.shape)

    def each(self) -> Iterator[tuple[Parameter, np.ndarray, np.ndarray]]:
        """(parameter, m, v) of each, in its shape."""
        return zip(self.parameters, self.split(self.m), self.split(self.v), strict=True)


def _parts(group, parameters):
    """The parameters in order, joined where they are small and of one dtype."""
    joined = []
    for p in parameters:
        last = joined[-1] if joined else []
        if last and last[0].dtype == p.dtype and sum(q.size for q in last) + p.size <= TOGETHER:
            last.append(p)
        else:
            joined.append([p])
    for some in joined:
        m, v = np.zeros((2, sum(p.size for p in some)), some[0].dtype)
        yield _Part(group, some, m, v)


@one_blas_thread
def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients together so that their common norm is at most `max_norm`; returns the norm before.

    Pascanu et al. 2013 (arXiv 1211.5063), algorithm 1.
    ValueError or TypeError for what is not a Parameter, or a `max_norm` that is not above 0.
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
