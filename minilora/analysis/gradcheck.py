"""Is a hand-written backward right? Compare it with central differences along random directions.

A random projection R of the output makes one number f = sum(R * y) out of any layer. For each array that the layer
depends on, a random direction V gives the same derivative twice: sum(gradient * V) from the backward, and
(f(x + hV) - f(x - hV)) / 2h from two forwards. Ones in the place of R would hide errors: a softmax's
backward that is wrong by a factor passes, because its gradient along ones is zero.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora import checks
from minilora.nn.module import Module


class GradcheckError(AssertionError):
    """A backward that disagrees with the differences; the message holds both numbers."""


@dataclass(frozen=True)
class GradcheckReport:
    """`errors`: for each checked input ("input 0") or parameter (its path), the largest relative error seen."""

    errors: dict[str, float]

    @property
    def worst(self) -> float:
        return max(self.errors.values())


def gradcheck(
    function: Callable,
    *inputs: np.ndarray,
    rng: np.random.Generator,
    module: Module | None = None,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    directions: int = 2,
) -> GradcheckReport:
    """Check `y, backward = function(*inputs)` for every float64 input and every trainable parameter.

    `function`: an op, a layer, a model or any callable with the contract. Its backward may return one gradient, a
    tuple with one gradient for each float input in order, or None. `module`: whose parameters to check where
    `function` is not itself a Module (say `lambda ids: model.loss(ids, labels)`).
    `step`: h of the central difference (f(x + hV) - f(x - hV)) / 2h, whose error is about h^2 from the curve and
    1e-16 / h from rounding. `directions`: random directions V for each array.
    The relative error is |analytic - numeric| over the larger of both and |gradient| |V| / sqrt(size), the size that a
    random projection has. Inputs and dy are passed read-only. The parameters' gradients are None afterwards.

    Raises GradcheckError with both numbers where the relative error exceeds `tolerance`, where a shape is wrong or a
    frozen parameter received a gradient; TypeError if an array is float32 (differences need float64).
    """
    checks.generator("rng", rng)
    checks.real("step", step, above=0)
    checks.real("tolerance", tolerance, above=0)
    checks.integer("directions", directions, low=1)
    if module is None and isinstance(function, Module):
        module = function
    parameters = dict(module.named_parameters()) if module is not None else {}
    arrays = [np.array(x) for x in inputs]
    floats = [i for i, x in enumerate(arrays) if np.issubdtype(x.dtype, np.floating)]
    for name, x in [(f"input {i}", arrays[i]) for i in floats] + [(n, p.value) for n, p in parameters.items()]:
        if x.dtype != np.float64:
            raise TypeError(
                f"{name} must be float64 for gradcheck, got {checks.shown(x)}; build it with dtype=np.float64"
            )
    for x in arrays:
        x.setflags(write=False)

    # The analytic gradients: one forward, one backward.
    for parameter in parameters.values():
        parameter.zero_grad()
    y, backward = function(*arrays)
    projection = rng.standard_normal(np.shape(y))
    if projection.ndim:
        projection.setflags(write=False)
    returned = backward(projection)
    gradients = _input_gradients(returned, floats, arrays)
    for name, parameter in parameters.items():
        if parameter.trainable:
            grad = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.copy()
            gradients[name] = grad
        elif parameter.grad is not None:
            raise GradcheckError(f"{name}: frozen, yet it received a gradient")
        parameter.zero_grad()

    # The numeric ones: two forwards for each direction.
    def value_with(name, shifted):
        if name in parameters:
            kept, parameters[name].value = parameters[name].value, shifted
            try:
                out, _ = function(*arrays)
            finally:
                parameters[name].value = kept
        else:
            index = int(name.split()[1])
            out, _ = function(*arrays[:index], shifted, *arrays[index + 1 :])
        return float(np.sum(projection * out))

    errors = {}
    for name, gradient in gradients.items():
        x = parameters[name].value if name in parameters else arrays[int(name.split()[1])]
        errors[name] = 0.0
        for _ in range(directions):
            direction = rng.standard_normal(x.shape)
            analytic = float(np.sum(gradient * direction))
            numeric = (value_with(name, x + step * direction) - value_with(name, x - step * direction)) / (2 * step)
            usual = np.linalg.norm(gradient) * np.linalg.norm(direction) / np.sqrt(x.size)
            error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), usual, np.finfo(float).tiny)
            if not error <= tolerance:
                raise GradcheckError(
                    f"{name} of shape {x.shape}: backward says {analytic:.12g}, central differences say {numeric:.12g}; "
                    f"relative error {error:.3g} exceeds {tolerance:g}"
                )
            errors[name] = max(errors[name], float(error))
    if not errors:
        raise ValueError("inputs must include a float64 array or the module a trainable parameter; nothing to check")
    return GradcheckReport(errors)


def _input_gradients(returned, floats, arrays):
    """What backward returned, as {"input i": gradient} for the float inputs, with shapes checked."""
    if returned is None:
        returned = ()
    elif not isinstance(returned, tuple):
        returned = (returned,)
    if len(returned) != len(floats):
        raise GradcheckError(
            f"backward must return a gradient for each of {len(floats)} float inputs, got {len(returned)}"
        )
    gradients = {}
    for i, gradient in zip(floats, returned, strict=True):
        if np.shape(gradient) != arrays[i].shape:
            raise GradcheckError(
                f"input {i}: the gradient must have shape {arrays[i].shape}, got {checks.shown(gradient)}"
            )
        gradients[f"input {i}"] = gradient
    return gradients
