"""What a run depends on: a checkpoint keeps it, and a run resumes only from a checkpoint of its own."""

import hashlib
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from numbers import Integral, Real
from types import CodeType, MemberDescriptorType
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters import QuantizedLinear, active_adapter, get_adapter
from minilora.adapters.methods import method_of
from minilora.nn.module import Module, Parameter

FULL = "full"  # the method where no adapter is active


def conditions_of(model: Module, optimizer: Any, batches: Callable, evaluate: Callable | None, steps: int) -> dict:
    """All that decides what a run of `steps` batches does next, beside its TrainingConfig, as JSON can hold it.

    The frozen weights (a digest of every array that is not trained, dense or packed), the layers' settings (RoPE base,
    norm eps), dtype, quantization, the adapter's method, name and config, which parameters train, the optimizer's
    settings, the training data in their order, the held-out data. Data say what they are by a `fingerprint()`; those
    that do not are known by their first two batches, and a checkpoint adds those around it (`batches_around`). An
    `evaluate` without one is known by its name and its own code: not by what that code calls, nor by the data that it
    holds or reads. Of an optimizer, its class's name, betas, eps, groups and every setting of its own count (see
    `_optimizer_settings`), and nothing else.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.trainable}
    name = active_adapter(model)
    adapter = None if name is None else get_adapter(model, name)
    conditions = {
        "base": _frozen_digest(model),
        "settings": _settings(model),
        "dtype": str(model.dtype),
        "quantization": _quantization(model),
        "method": FULL if adapter is None else method_of(adapter.config).name,
        "adapter": {} if adapter is None else {"name": name, "factor": adapter.factor, **asdict(adapter.config)},
        "parameters": {name: list(p.shape) for name, p in parameters.items()},
        "optimizer": _optimizer(optimizer, parameters),
        "data": _data(batches, steps),
        "held-out data": _held_out(evaluate),
    }
    return json.loads(json.dumps(conditions))  # tuples become lists, as they come back from a file


def batches_around(batches: Callable, place: int, steps: int) -> dict[str, str]:
    """{"1": digest, "2": digest}: the batch before `place`, which a run of `steps` batches trained on last, and the one
    at it, which comes next. {} for data with a `fingerprint()`, which tells them all.

    The next one is left out where the run ends, or where it cannot be had: the step that takes it will say why, and the
    checkpoint is there by then.
    """
    if hasattr(batches, "fingerprint"):
        return {}
    digests = {str(i): _digest(batches(i)) for i in [place - 1] if i < steps}
    if place < steps:
        with suppress(Exception):
            digests[str(place)] = _digest(batches(place))
    return digests


def differences(then: dict, now: dict) -> list[str]:
    """One line per condition that differs: "adapter.lora_alpha was 8, is 64"; all of them, in order."""
    then, now = _flat(then), _flat(now)
    lines = []
    for key in dict.fromkeys([*then, *now]):
        was, becomes = (repr(side[key]) if key in side else "absent" for side in (then, now))
        if was != becomes:
            lines.append(f"{key} was {_short(was)}, is {_short(becomes)}")
    return lines


def _frozen_digest(model: Module) -> str:
    digest = hashlib.sha256()

    def add(name: str, array: np.ndarray):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)

    for path, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            q = module.q
            for name in ("packed", "scales", "minima"):
                if getattr(q, name, None) is not None:
                    add(f"{path}.{name}", getattr(q, name))
        for name, child in module.named_children():
            if isinstance(child, Parameter) and not child.trainable:
                add(f"{path}.{name}", child.value)
    return digest.hexdigest()


def _settings(model: Module) -> dict[str, list]:
    """{"Attention.rope_theta": the values that layers have}, each value once."""
    values: dict[str, list] = {}
    for _, module in model.named_modules():
        for name, value in module.settings().items():
            kept = values.setdefault(f"{type(module).__name__}.{name}", [])
            if value not in kept:
                kept.append(value)
    return values


def _quantization(model: Module) -> dict[str, int]:
    """{"nf4, blocks of 64, doubly quantized": layers}."""
    kinds: dict[str, int] = {}
    for _, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            q = module.q
            kind = f"{q.code}, blocks of {q.block_size}{', doubly quantized' if q.double_quant else ''}"
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def _optimizer(optimizer: Any, parameters: dict[str, Parameter]) -> dict[str, Any]:
    names = {id(p): name for name, p in parameters.items()}
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        | {"params": [names[id(p)] for p in group["params"]]}
        for group in optimizer.groups
    ]
    return {"class": type(optimizer).__name__, **_optimizer_settings(optimizer), "groups": groups}


def _optimizer_settings(optimizer: Any) -> dict[str, Any]:
    """Betas, eps, and the other public attributes that are a number, text, boolean or None, or a tuple of these.

    Properties are not read. What `state()` holds under the same name, as AdamW's `steps`, comes back with the state.
    """
    settings = {name: getattr(optimizer, name) for name in ("betas", "eps") if hasattr(optimizer, name)}
    kept_there = {name for name, value in optimizer.state().items() if np.ndim(value) == 0}
    for name in (name for name in dir(optimizer) if not name.startswith("_") and name not in kept_there):
        value = inspect.getattr_static(optimizer, name)
        if isinstance(value, MemberDescriptorType):  # one of __slots__
            value = getattr(optimizer, name, None)
        with suppress(TypeError):
            settings.setdefault(name, _plain(value))
    return settings


def _plain(value: Any) -> Any:
    """A simple value with numbers of Python's own kinds; TypeError for any other value."""
    match value:
        case None | bool() | str():
            return value
        case np.bool_():
            return bool(value)
        case Integral():
            return int(value)
        case Real():
            return float(value)
        case tuple():
            return tuple(_plain(item) for item in value)
    raise TypeError(f"expected a simple value, got {checks.shown(value)}")


def _data(batches: Callable, steps: int) -> Any:
    if hasattr(batches, "fingerprint"):
        return batches.fingerprint()
    return {"first two batches": _digest(*(batches(step) for step in range(min(2, steps))))}


def _digest(*batches: tuple[np.ndarray, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for array in checks.batch(batch):
            digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array, np.int64).tobytes())
    return digest.hexdigest()


def _held_out(evaluate: Callable | None) -> Any:
    """What is held out, by a `fingerprint()`, or which function of one's own scores it."""
    if evaluate is None:
        return None
    if hasattr(evaluate, "fingerprint"):
        return evaluate.fingerprint()
    while isinstance(evaluate, partial):
        evaluate = evaluate.func
    function = evaluate if hasattr(evaluate, "__qualname__") else type(evaluate)  # an object is known by its class
    code = getattr(function, "__code__", None) or getattr(function.__call__, "__code__", None)
    return {
        "function": function.__qualname__,
        "code": None if code is None else hashlib.sha256(_instructions(code).encode()).hexdigest(),
    }


def _instructions(code: CodeType) -> str:
    """What a function's own code does, as text: the same wherever it stands, and in every process."""
    constants = []
    for one in code.co_consts:
        if isinstance(one, CodeType):  # of a function within it
            constants.append(_instructions(one))
        else:  # a set's order differs between processes
            constants.append(repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one))
    return repr((code.co_code.hex(), code.co_names, code.co_freevars, constants))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: leaf
            for name, item in items
            for key, leaf in _flat(item, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    return {prefix: value}


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:13]}...{text[-4:]}"  # a digest is known by its start
