"""Adapters on a model: put on from outside, switched, disabled, scaled, taken off."""

import contextlib
from collections.abc import Iterator

from minilora import checks
from minilora.adapters.adapter import AdapterLayer, AdapterPart, adapter_layers, adapter_names, get_adapter, plain
from minilora.adapters.merging import refuse_merged
from minilora.nn.module import Module


def check_new_adapter(model: Module, adapter_name: str) -> str:
    """Can an adapter of this name be put on `model`? Returns the name; ValueError if it is in use or the model merged."""
    refuse_merged(model)
    if not checks.string("adapter_name", adapter_name, hint="try 'default'"):
        raise ValueError("adapter_name must not be empty, got ''; try 'default'")
    if adapter_name in adapter_names(model):
        raise ValueError(
            f"adapter_name must be new, got {adapter_name!r}, which the model has already; choose another name, or "
            f"delete_adapter(model, {adapter_name!r}) first"
        )
    return adapter_name


def put_on(
    model: Module, adapter_name: str, parts: dict[str, AdapterPart], layer_class: type[AdapterLayer]
) -> list[str]:
    """Wrap the layers at the paths of `parts` in `layer_class` (or the part's own; where they are not yet), give each its
    part, and make the adapter the active one. Returns the paths. Every check comes before: this does not fail half way."""
    enabled = _enabled(adapter_layers(model))  # within disable_adapters a new layer is disabled, too
    for path, part in parts.items():
        layer = _wrapped(model, path, part.layer_class or layer_class)
        layer.enabled = enabled
        layer.add(adapter_name, part)
    set_adapter(model, adapter_name)
    return [plain(path) for path in parts]


def set_adapter(model: Module, adapter_name: str) -> None:
    """Switch the whole model to one adapter: layers that do not have it act as their base.

    Activation decides what trains: the adapter's parameters become trainable, all others of the model are frozen. Each
    adapter is bit-equal to itself after any number of switches.
    """
    refuse_merged(model)
    get_adapter(model, adapter_name)
    freeze(model)
    for layer in adapter_layers(model).values():
        layer.set_adapter(adapter_name if adapter_name in layer.adapters else None)


@contextlib.contextmanager
def disable_adapters(model: Module) -> Iterator[Module]:
    """`with disable_adapters(model): ...`: inside, the base acts alone, bit for bit. What is active stays so, and acts
    again afterwards."""
    refuse_merged(model)
    before = _enabled(some_adapters(model))
    _enable(model, False)
    try:
        yield model
    finally:
        _enable(model, before)  # also what was put on in the meantime


def scale_adapter(model: Module, adapter_name: str, factor: float) -> None:
    """Let an adapter act `factor` times as strongly as it was trained: s = scaling * factor. 1.0 is as trained, bit for bit.

    The factor replaces an earlier one, is saved with the adapter, and multiplies LoRA's update and a bottleneck's output.
    (PEFT: `set_scale`.) ValueError for a prefix or a prompt, where it has no meaning.
    """
    refuse_merged(model)
    adapter = get_adapter(model, adapter_name)
    factor = checks.real("factor", factor)
    if adapter.factor is None:
        part = next(part for part in adapter.parts.values() if part.factor is None)
        raise ValueError(
            f"adapter_name must be a LoRA or a bottleneck to be scaled, got {adapter_name!r}, whose {type(part).__name__} has "
            "no strength: it replaces or precedes what the base does"
        )
    for part in adapter.parts.values():
        part.factor = factor


def delete_adapter(model: Module, adapter_name: str) -> None:
    """Take one adapter off the model. Where it was active, the base acts alone until `set_adapter`; layers that hold no
    adapter any more become what they were before the first one, the very same objects."""
    refuse_merged(model)
    get_adapter(model, adapter_name)
    layers = adapter_layers(model)
    for path in sorted(layers, key=len, reverse=True):  # a layer within a wrapper before the wrapper
        layer = layers[path]
        if adapter_name in layer.adapters:
            layer.remove(adapter_name)
        if not layer.adapters:
            layer.take_off(model, path)


def freeze(model: Module) -> None:
    """Make every parameter of `model` frozen: it ignores gradients, forgets what it has, and no dW is computed for it.

    TypeError unless `model` is a Module.
    """
    for parameter in checks.instance("model", model, Module).parameters():
        parameter.trainable = False
        parameter.zero_grad()


def count_parameters(model: Module) -> tuple[int, int]:
    """(trainable, all) parameters: those of the base and of the active adapter. Weights in four bits are not parameters
    and are not counted. TypeError unless `model` is a Module."""
    parameters = list(checks.instance("model", model, Module).parameters())
    return sum(p.size for p in parameters if p.trainable), sum(p.size for p in parameters)


def some_adapters(model: Module) -> dict[str, AdapterLayer]:
    """`adapter_layers`, or ValueError if there are none."""
    layers = adapter_layers(model)
    if not layers:
        raise ValueError("model must have an adapter, got none; apply_lora(model, ...) puts one on")
    return layers


def _enabled(layers):
    return all(layer.enabled for layer in layers.values())


def _enable(model, enabled):
    for layer in adapter_layers(model).values():
        layer.enabled = enabled


def _wrapped(model, path, layer_class):
    """The `layer_class` at `path`: the one that is there already, or a new one around whatever is."""
    for there, layer in adapter_layers(model).items():
        if plain(there) == plain(path) and type(layer) is layer_class:
            return layer
    return layer_class.put_around(model, path)
