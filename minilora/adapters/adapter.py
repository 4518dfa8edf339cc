"""What every adapter is, and the layer that holds several of them by name and lets one act."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minilora import checks
from minilora.nn.module import Constant, Module, Parameter


class Adapter(Protocol):
    """What is trained instead of the weights. It owns its config: handed in once, kept, and written to disk with it.

    One layer's part of an adapter has this interface (`LoRA`), and so has an adapter of a whole model (`get_adapter`).
    """

    config: Any

    def parameters(self) -> Iterator[Parameter]:
        """All that it learns."""

    def state(self) -> dict[str, np.ndarray]:
        """All that has to be kept, by name; the arrays themselves, not copies."""


class AdapterPart(Module):
    """One adapter in one layer: its parameters, and how the layer acts with it: `part(base_layer, x, ...)`.

    `factor`: how strongly it acts, relative to its training (see `scale_adapter`); `None` where that has no meaning.
    `layer_class`: what has to be around the layer, where that is not the same for all parts of its method.
    """

    factor: float | None = None
    layer_class: "type[AdapterLayer] | None" = None

    def __init__(self, config: Any):
        self.config = config

    def __call__(self, base_layer: Module, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        """y and backward(dy) -> dx of the base layer with this adapter."""
        raise NotImplementedError

    def set_trainable(self, trainable: bool) -> None:
        """Let it learn, or freeze it: then its gradients are forgotten, too."""
        for parameter in self.parameters():
            parameter.trainable = trainable and not isinstance(parameter, Constant)
            if not trainable:
                parameter.zero_grad()


class AdapterLayer(Module):
    """A layer wrapped from outside. It holds adapters by name; the active one acts and learns, the others wait, frozen.

    `base_layer`: what is wrapped, never edited. `active`: the name of the active adapter, or None: then the base acts
    alone. `enabled`: False while `disable_adapters` lets the base act alone. Only the active adapter's parameters are
    found from outside (`named_parameters`), by their own names: "q_proj.lora_A".
    """

    why_not_merged = "its layer has no merged form"

    def __init__(self, base_layer: Module):
        self.base_layer = checks.instance("base_layer", base_layer, Module)
        self.adapters: dict[str, AdapterPart] = {}
        self.active: str | None = None
        self.enabled = True

    def named_children(self) -> Iterator[tuple[str, Module | Parameter]]:
        yield "base_layer", self.base_layer
        if self.active is not None:
            yield from self.adapters[self.active].named_children()

    def set_adapter(self, name: str | None) -> None:
        """Let one adapter act and learn, and freeze the others; None lets the base act alone."""
        if name is not None and name not in self.adapters:
            raise ValueError(f"adapter must be one of {sorted(self.adapters)}, got {name!r}")
        self.active = name
        for key, part in self.adapters.items():
            part.set_trainable(key == name)

    def add(self, name: str, part: AdapterPart) -> None:
        """Take in a part under a new name, and make it the active one."""
        if name in self.adapters:
            raise ValueError(f"adapter must have a new name, got {name!r}; there are {sorted(self.adapters)}")
        self.adapters[name] = part
        self.set_adapter(name)

    def remove(self, name: str) -> None:
        """Forget one adapter; where it was active the base acts alone from now on."""
        if self.active == name:
            self.set_adapter(None)
        del self.adapters[name]

    @property
    def acting(self) -> AdapterPart | None:
        """The part that acts in a forward; None where the base acts alone."""
        return self.adapters[self.active] if self.enabled and self.active is not None else None

    def __call__(self, x: np.ndarray, *args: Any, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        part = self.acting
        return self.base_layer(x, *args, **kwargs) if part is None else part(self.base_layer, x, *args, **kwargs)

    def merged(self) -> Module:
        """A new layer without adapters that acts as this one does. ValueError where there is no such layer."""
        raise ValueError(f"{self.active!r} cannot be merged: {self.why_not_merged}; keep it on, or disable it")

    @classmethod
    def put_around(cls, model: Module, path: str) -> "AdapterLayer":
        """Wrap what stands at `path`."""
        layer = cls(model.get_submodule(path))
        model.set_submodule(path, layer)
        return layer

    def take_off(self, model: Module, path: str) -> None:
        """Put back, at `path`, the very layer that was wrapped."""
        model.set_submodule(path, self.base_layer)


class InstalledAdapter(Module):
    """An adapter of a whole model: its parts by path. `parameters()` and `state()` reach all of them, active or not."""

    def __init__(self, name: str, parts: dict[str, AdapterPart]):
        self.name, self.parts = name, parts
        self.config = next(iter(parts.values())).config

    @property
    def factor(self) -> float | None:
        """How strongly it acts, relative to its training; None where that has no meaning for one of its parts."""
        factors = [part.factor for part in self.parts.values()]
        return None if None in factors else factors[0]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for path, part in self.parts.items():
            yield plain(path), part


def plain(path: str) -> str:
    """A layer's path in the bare model, whatever has been wrapped around it: "mlp.base_layer.up_proj" -> "mlp.up_proj"."""
    return path.replace(".base_layer", "")


def bare(layer: Module) -> Module:
    """The layer within all wrappers."""
    while isinstance(layer, AdapterLayer):
        layer = layer.base_layer
    return layer


def adapter_layers(model: Module) -> dict[str, AdapterLayer]:
    """Every layer that holds adapters, by its path. TypeError unless `model` is a Module."""
    checks.instance("model", model, Module, hint="pass a Llama, or any Module with linear layers")
    return {path: module for path, module in model.named_modules() if isinstance(module, AdapterLayer)}


def adapter_names(model: Module) -> list[str]:
    """The names of all adapters of `model`, in alphabetical order."""
    return sorted({name for layer in adapter_layers(model).values() for name in layer.adapters})


def get_adapter(model: Module, adapter_name: str = "default") -> InstalledAdapter:
    """One adapter of `model`, active or not: its config, parameters and state. ValueError for an unknown name."""
    names = adapter_names(model)
    if not names:
        raise ValueError(
            f"adapter_name must name an adapter, got {adapter_name!r}, but the model has none; apply_lora adds one"
        )
    checks.one_of("adapter_name", adapter_name, names)
    layers = adapter_layers(model).items()
    parts = {path: layer.adapters[adapter_name] for path, layer in layers if adapter_name in layer.adapters}
    return InstalledAdapter(adapter_name, parts)


def active_adapter(model: Module) -> str | None:
    """The name of the adapter that is active in `model`, or None."""
    return next((layer.active for layer in adapter_layers(model).values() if layer.active is not None), None)
