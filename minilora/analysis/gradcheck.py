"""Is a hand-written backward right? Compare it with central differences along random directions.

A random projection R of the output makes one number f = sum(R * y) out of any layer. For each array that the layer
depends on, a random direction V gives the same derivative twice: sum(gradient * V) from the backward, and
(f(x + hV) - f(x - hV)) / 2h from two forwards. Ones instead of R would hide errors: a softmax's backward that is wrong
by a factor passes, because its gradient along ones is zero.
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
        """The largest of all errors."""
        return max(self.errors.values())


@dataclass(frozen=True)
class _Checked:
    """One array that the function depends on. `with_value(x)`: the function's output y with another array in its place."""

    name: str
    value: np.ndarray
    with_value: Callable[[np.ndarray], np.ndarray]


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
    The relative error is |analytic - numeric| over the largest of |analytic|, |numeric| and |gradient| |V| / sqrt(size),
    the size that a random projection has. Inputs and dy are passed read-only. The parameters' gradients are None
    afterwards.

    Raises GradcheckError with both numbers where the relative error exceeds `tolerance`, where a shape is wrong or a
    frozen parameter received a gradient; TypeError if an array is float32 (differences need float64) or the function
    does not keep the contract.
    """
    checks.function("function", function, hint="pass an op, a layer or a lambda that returns (y, backward)")
    checks.generator("rng", rng)
    step = checks.real("step", step, above=0)
    tolerance = checks.real("tolerance", tolerance, above=0)
    directions = checks.integer("directions", directions, low=1, high=1000)
    if module is None and isinstance(function, Module):
        module = function
    if module is not None:
        checks.instance("module", module, Module)
    parameters = {} if module is None else dict(module.named_parameters())
    arrays = [_read_only_copy(f"input {i}", x) for i, x in enumerate(inputs)]
    floats = _checked_inputs(function, arrays)
    for name, dtype in [(c.name, c.value.dtype) for c in floats] + [(n, p.value.dtype) for n, p in parameters.items()]:
        if dtype != np.float64:
            raise TypeError(f"{name} must be float64 for gradcheck, got {dtype}; build it with dtype=np.float64")
    checked = floats + _checked_parameters(function, arrays, parameters)
    if not checked:
        raise ValueError("inputs must include a float64 array or the module a trainable parameter; nothing to check")
    try:
        projection, gradients = _analytic(function, arrays, floats, parameters, rng)
    finally:
        for parameter in parameters.values():
            parameter.zero_grad()
    errors = {}
    for place in checked:
        compared = [_compare(place, gradients[place.name], projection, step, tolerance, rng) for _ in range(directions)]
        errors[place.name] = max(compared)
    return GradcheckReport(errors)


def _checked_inputs(function, arrays):
    def with_value(i):
        return lambda x: _call(function, [*arrays[:i], x, *arrays[i + 1 :]])[0]

    floats = [i for i, x in enumerate(arrays) if np.issubdtype(x.dtype, np.floating)]
    return [_Checked(f"input {i}", arrays[i], with_value(i)) for i in floats]


def _checked_parameters(function, arrays, parameters):
    def with_value(parameter):
        def run(x):
            kept, parameter.value = parameter.value, x
            try:
                return _call(function, arrays)[0]
            finally:
                parameter.value = kept

        return run

    return [_Checked(name, p.value, with_value(p)) for name, p in parameters.items() if p.trainable]


def _analytic(function, arrays, floats, parameters, rng):
    """(R, the gradient of sum(R * y) for each checked array by name): one forward, one backward."""
    for parameter in parameters.values():
        parameter.zero_grad()
    y, backward = _call(function, arrays)
    projection = rng.standard_normal(np.shape(y))
    if projection.ndim:
        projection.setflags(write=False)
    gradients = _input_gradients(backward(projection), floats)
    for name, parameter in parameters.items():
        if parameter.trainable:
            gradients[name] = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.copy()
        elif parameter.grad is not None:
            raise GradcheckError(f"{name}: frozen, yet it received a gradient")
    return projection, gradients


def _compare(checked, gradient, projection, step, tolerance, rng):
    """The relative error along one random direction, two forwards. GradcheckError where it exceeds the tolerance."""
    x, direction = checked.value, rng.standard_normal(checked.value.shape)
    analytic = float(np.sum(gradient * direction))
    above = float(np.sum(projection * checked.with_value(x + step * direction)))
    below = float(np.sum(projection * checked.with_value(x - step * direction)))
    numeric = (above - below) / (2 * step)
    usual = np.linalg.norm(gradient) * np.linalg.norm(direction) / np.sqrt(x.size)
    error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), usual, np.finfo(float).tiny)
    if not error <= tolerance:  # not `error > tolerance`: NaN must fail
        raise GradcheckError(
            f"{checked.name} of shape {x.shape}: backward says {analytic:.12g}, central differences say {numeric:.12g}; "
            f"relative error {error:.3g} exceeds {tolerance:g}"
        )
    return float(error)


def _input_gradients(returned, floats):
    """What backward returned, as {"input i": gradient} for the float inputs, with shapes checked."""
    if returned is None:
        returned = ()
    elif not isinstance(returned, tuple):
        returned = (returned,)
    if len(returned) != len(floats):
        raise GradcheckError(
            f"backward must return a gradient for each of {len(floats)} float inputs, got {len(returned)}"
        )
    for checked, gradient in zip(floats, returned, strict=True):
        if np.shape(gradient) != checked.value.shape:
            raise GradcheckError(
                f"{checked.name}: the gradient must have shape {checked.value.shape}, got {checks.shown(gradient)}"
            )
    return {checked.name: gradient for checked, gradient in zip(floats, returned, strict=True)}


def _call(function, arrays):
    try:
        result = function(*arrays)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"function must take the inputs as arrays and return (y, backward), got {error!r}") from error
    if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
        raise TypeError(f"function must return (y, backward), got {checks.shown(result)}")
    return result


def _read_only_copy(name, x):
    copy = np.array(checks.array(name, x))
    copy.setflags(write=False)
    return copy
