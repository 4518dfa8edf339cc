"""Parameter and Module: what a layer owns, how it is named, and how a child is replaced from outside."""

from collections.abc import Iterator

import numpy as np

from minilora import checks


class Parameter:
    """An array that may be trained, with its gradient.

    `value`: float32 or float64 array. `grad`: None until the first backward, then an array of the same shape.
    `trainable`: a frozen parameter (False) ignores every gradient.
    """

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

    def accumulate(self, grad: np.ndarray) -> None:
        """Add `grad` to the gradient: the only place where a gradient is written. ValueError if the shape differs."""
        if grad.shape != self.value.shape:
            raise ValueError(f"grad must have the parameter's shape {self.value.shape}, got {checks.shown(grad)}")
        if not self.trainable:
            return
        if self.grad is None:
            self.grad = grad.astype(self.value.dtype)  # a copy: the caller's array stays the caller's
        else:
            self.grad += grad

    def zero_grad(self) -> None:
        """Forget the gradient: None again, as before the first backward."""
        self.grad = None

    def __repr__(self) -> str:
        state = "trainable" if self.trainable else "frozen"
        return f"Parameter(shape={self.shape}, dtype={self.value.dtype}, {state})"


class Module:
    """A layer: parameters and child layers are its plain attributes (a list of layers counts too).

    Paths are dotted, as in Hugging Face: `layers.0.self_attn.q_proj.weight`.
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
        """Put `module` in the place of the layer at a dotted path, which must exist."""
        if not isinstance(module, Module):
            raise TypeError(f"module must be a Module, got {checks.shown(module)}")
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
