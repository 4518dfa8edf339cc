"""Parameter and Module: what a layer owns, how it is named, shown, filled, and how a child is replaced from outside."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minilora import checks


class Parameter:
    """An array that may be trained, with its gradient.

    `value`: float32 or float64 array. `grad`: None until the first backward, then an array of the same shape.
    `trainable`: a frozen parameter (False) ignores every gradient. Raises TypeError for a value that is not such an
    array.
    """

    pending = False  # a PendingParameter's value may still be missing

    def __init__(self, value: np.ndarray, trainable: bool = True):
        self.value = checks.float_array("value", value)
        self.grad: np.ndarray | None = None
        self.trainable = checks.boolean("trainable", trainable)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    def fill(self, value: np.ndarray) -> None:
        """Copy `value` into the parameter, in place. ValueError if the shape differs, TypeError if the dtype does."""
        self._check_fits(value)
        self.value[...] = value

    def _check_fits(self, value):
        checks.float_array("value", value)
        if value.shape != self.shape:
            raise ValueError(f"value must have the parameter's shape {self.shape}, got {checks.shown(value)}")
        if value.dtype != self.dtype:
            raise TypeError(f"value must be {self.dtype} like the parameter, got {checks.shown(value)}")

    def accumulate(self, grad: np.ndarray, *, given_away: bool = False) -> None:
        """Add `grad` to the gradient: the only place where a gradient is written. ValueError if the shape differs.

        `given_away`: nobody else will use the array again, so it may become the gradient without a copy.
        """
        if not isinstance(grad, np.ndarray) or isinstance(grad, np.ma.MaskedArray):
            raise TypeError(f"grad must be a numpy array without a mask, got {checks.shown(grad)}")
        if not np.issubdtype(grad.dtype, np.floating):
            raise TypeError(f"grad must hold floats, got {checks.shown(grad)}")
        if grad.shape != self.shape:
            raise ValueError(f"grad must have the parameter's shape {self.shape}, got {checks.shown(grad)}")
        checks.boolean("given_away", given_away)
        if not self.trainable:
            return
        if self.grad is None:
            self.grad = grad.astype(self.value.dtype, copy=not given_away)  # the caller's array stays the caller's
        else:
            self.grad += grad

    def zero_grad(self) -> None:
        """Forget the gradient: None again, as before the first backward."""
        self.grad = None

    def __repr__(self) -> str:
        state = "trainable" if self.trainable else "frozen"
        return f"Parameter(shape={self.shape}, dtype={self.dtype}, {state})"


class PendingParameter(Parameter):
    """A parameter whose shape and dtype are known before its value: what `Llama.skeleton` is made of.

    `fill` gives it its value, a copy. Reading `value` before that raises ValueError.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, trainable: bool = True):
        self._shape, self._dtype = tuple(shape), np.dtype(dtype)
        self._value: np.ndarray | None = None
        self.grad: np.ndarray | None = None
        self.trainable = checks.boolean("trainable", trainable)

    @property
    def value(self) -> np.ndarray:
        if self._value is None:
            raise ValueError(
                f"a parameter of shape {self.shape} has no value yet, as its model is a skeleton; "
                "give the model its weights first (model.load_state, or load_llama for a folder)"
            )
        return self._value

    @value.setter
    def value(self, value: np.ndarray) -> None:
        self._check_fits(value)
        self._value = value

    @property
    def pending(self) -> bool:
        """Is the value still missing?"""
        return self._value is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def size(self) -> int:
        return math.prod(self._shape)

    @property
    def dtype(self) -> np.dtype:
        return self._dtype

    def fill(self, value: np.ndarray) -> None:
        """Take a copy of `value`. ValueError if the shape differs, TypeError if the dtype does."""
        if self._value is None:
            self.value = np.array(value, order="C")
        else:
            super().fill(value)


class Constant(Parameter):
    """An array that belongs to a layer's state and is never trained: `trainable` stays False."""

    def __init__(self, value: np.ndarray):
        super().__init__(value, trainable=False)


class PendingConstant(PendingParameter, Constant):
    """A constant whose value is still to come."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        PendingParameter.__init__(self, shape, dtype, trainable=False)


class Module:
    """A layer: parameters and child layers are its plain attributes (a list of layers counts too).

    Paths are dotted, as in Hugging Face: `layers.0.self_attn.q_proj.weight`. What stands in a dict or a tuple is not a child:
    no path leads to it, and it is neither counted, saved nor trained. That is how a layer keeps what is not in use (the
    adapters beside the active one, the layer that a merged one came from). A path that leads nowhere is a ValueError
    that names what there is.
    """

    def named_children(self) -> Iterator[tuple[str, "Module | Parameter"]]:
        """(name, Module or Parameter) of each direct child, in the order in which they were set."""
        for name, child in vars(self).items():
            if isinstance(child, (Module, Parameter)):
                yield name, child
            elif isinstance(child, list):
                for i, item in enumerate(child):
                    if isinstance(item, (Module, Parameter)):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(path, layer) of this layer (path "") and of every layer below it, parents first."""
        yield prefix, self
        for name, child in self.named_children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of every parameter, each exactly once."""
        for path, module in self.named_modules():
            for name, child in module.named_children():
                if isinstance(child, Parameter):
                    yield (f"{path}.{name}" if path else name), child

    def parameters(self) -> Iterator[Parameter]:
        """Every Parameter, in the order of `named_parameters`."""
        for _, parameter in self.named_parameters():
            yield parameter

    def get_submodule(self, path: str) -> "Module":
        """The layer at a dotted path. ValueError, with the names there are, if there is none."""
        module = self
        for name, step in _steps(path):
            children = {key: child for key, child in module.named_children() if isinstance(child, Module)}
            if name not in children:
                raise ValueError(f"path {path!r}: no layer {step!r} here; there are: {', '.join(children) or 'none'}")
            module = children[name]
        return module

    def set_submodule(self, path: str, module: "Module") -> None:
        """Replace the layer at a dotted path, which must exist, by `module`."""
        if not isinstance(module, Module):
            raise TypeError(f"module must be a Module, got {checks.shown(module)}")
        if checks.string("path", path) == "":
            raise ValueError("path must lead to a layer below this one, got ''; a layer cannot replace itself")
        self.get_submodule(path)
        parent_path, _, name = path.rpartition(".")
        if name.isdigit():
            parent_path, _, list_name = parent_path.rpartition(".")
            getattr(self.get_submodule(parent_path), list_name)[int(name)] = module
        else:
            setattr(self.get_submodule(parent_path), name, module)

    def zero_grad(self) -> None:
        """Forget every gradient below this layer."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def state(self) -> dict[str, np.ndarray]:
        """{path: value} of every parameter: the arrays themselves, not copies. (Weights in four bits are not parameters.)"""
        return {path: parameter.value for path, parameter in self.named_parameters()}

    def load_state(self, arrays: Mapping[str, np.ndarray], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copy `arrays` (by path, as `state` gives them) into the parameters, in place; returns (missing, unexpected) paths.

        An array must have its parameter's shape, be finite, and be of floats that fit its dtype exactly: float16 may go into
        float32, float64 may not. ValueError that lists every mismatch, before anything is changed; missing and
        unexpected paths are mismatches unless `strict` is False.
        """
        checks.instance("arrays", arrays, Mapping, hint="pass what model.state() or load_arrays gives")
        checks.boolean("strict", strict)
        parameters = dict(self.named_parameters())
        missing = [path for path in parameters if path not in arrays]
        unexpected = [path for path in arrays if path not in parameters]
        faults = [f"{path} is missing" for path in missing] + [f"{path} is unexpected" for path in unexpected]
        faults = faults if strict else []
        for path, parameter in parameters.items():
            if path in arrays and (fault := _misfit(arrays[path], parameter)):
                faults.append(f"{path} {fault}")
        if faults:
            raise ValueError(
                f"arrays must fit this {type(self).__name__}, got {len(faults)} that do not: {'; '.join(faults)}"
            )
        for path, parameter in parameters.items():
            if path in arrays:
                parameter.fill(arrays[path].astype(parameter.dtype, copy=False))
        return missing, unexpected

    def settings(self) -> dict[str, Any]:
        """{name: value} of what, besides the arrays, decides what this layer itself computes (a norm's eps); here nothing.

        Adapters and checkpoints are bound to them: the same weights with another RoPE base are another model.
        """
        return {}

    def describe(self) -> str:
        """What `print(model)` says of this layer itself, in parentheses after its class: here its own parameters."""
        own = ((name, child) for name, child in self.named_children() if isinstance(child, Parameter))
        return ", ".join(
            f"{name} {child.shape} {child.dtype} {'trainable' if child.trainable else 'frozen'}" for name, child in own
        )

    def __repr__(self) -> str:
        """The layer and all below it as an indented tree; equal neighbors in a list are shown once, as in torch."""
        parameters = list(self.parameters())
        trainable = sum(p.size for p in parameters if p.trainable)
        total = sum(p.size for p in parameters)
        dtypes = ", ".join(sorted({str(p.dtype) for p in parameters})) or "none"
        summary = f"{total:,} parameters: {trainable:,} trainable, {total - trainable:,} frozen; dtype {dtypes}"
        return "\n".join([*_tree(self), summary])


def _tree(module: Module) -> list[str]:
    """The lines of `repr`, without the last."""
    about = module.describe()
    head = f"{type(module).__name__}({about})" if about else type(module).__name__
    shown = [(name, _tree(child)) for name, child in module.named_children() if isinstance(child, Module)]
    lines, i = [head], 0
    while i < len(shown):
        name, tree = shown[i]
        end = i + 1
        stem, _, number = name.rpartition(".")
        while number.isdigit() and end < len(shown) and shown[end] == (f"{stem}.{int(number) + end - i}", tree):
            end += 1
        label = name if end == i + 1 else f"{stem}.{number}-{int(number) + end - i - 1}: {end - i} x"
        lines += [
            f"  {label}: {tree[0]}" if end == i + 1 else f"  {label} {tree[0]}",
            *(f"  {line}" for line in tree[1:]),
        ]
        i = end
    return lines


def _misfit(array, parameter: Parameter) -> str:
    """What keeps an array from being copied into a parameter; "" if nothing."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        return f"must be a plain array, got {checks.shown(array)}"
    if array.shape != parameter.shape:
        return f"must have the shape {parameter.shape}, got {array.shape}"
    if array.dtype.kind != "f" or not np.can_cast(array.dtype, parameter.dtype, "safe"):
        return f"must be of floats that fit {parameter.dtype} exactly, got {array.dtype}"
    try:
        checks.finite("it", array)
    except ValueError:
        return "must be finite, got NaN or infinity in it"
    return ""


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Split "layers.0.mlp" into children's names ("layers.0", "mlp"), each beside the path walked so far."""
    if not isinstance(path, str):
        raise TypeError(f"path must be a str such as 'layers.0.self_attn.q_proj', got {checks.shown(path)}")
    parts = path.split(".") if path else []
    i = 0
    while i < len(parts):
        width = 2 if i + 1 < len(parts) and parts[i + 1].isdigit() else 1
        yield ".".join(parts[i : i + width]), ".".join(parts[: i + width])
        i += width
