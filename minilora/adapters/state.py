"""An adapter's state: out of a model, into a model, and as a file that knows its config and its base."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from minilora import checks, schema, storage
from minilora.adapters.adapter import AdapterLayer, InstalledAdapter, get_adapter
from minilora.adapters.merging import MERGED, refuse_merged
from minilora.adapters.methods import METHODS, method_of
from minilora.adapters.quantized import QuantizedLinear
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.nn.module import Module, Parameter
from minilora.quant import QuantizedTensor

METADATA = {  # in every adapter's file; what config must hold, its method says
    "method": partial(checks.one_of, choices=METHODS),
    "config": partial(checks.instance, kind=dict),
    "factor": schema.nullable(checks.real),
    "base_fingerprint": checks.string,
    "notes": partial(checks.instance, kind=dict),
}


def base_fingerprint(model: Module) -> str:
    """A hex digest (SHA-256) of everything below the adapters: what an adapter is trained on, and means nothing without.

    It covers each array of the bare model, dense or packed, with its path, shape and dtype, the code and block size
    of what is quantized, and each layer's `settings` (head size, RoPE base, norm eps). So it stays the same while
    adapters are put on, trained, switched, merged (with `keep_unmerged`), unmerged and taken off; it changes with any
    weight, with the dtype and with quantization: what was trained over NF4 has learned to correct NF4's errors too.
    TypeError unless `model` is a Module.
    """
    checks.instance("model", model, Module, hint="pass a Llama, or any Module with linear layers")
    digest = hashlib.sha256()
    bare = list(_bare_modules(model, ""))
    arrays = [named for path, module in bare for named in _own_arrays(module, path)]
    for name, array in sorted(arrays, key=lambda named: named[0]):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    for path, module in sorted(bare, key=lambda named: named[0]):
        digest.update("".join(f"{path}{name} = {value!r}\n" for name, value in module.settings().items()).encode())
    return digest.hexdigest()


def adapter_state(model: Module, adapter_name: str = "default") -> dict[str, np.ndarray]:
    """{"layers.0.self_attn.q_proj.lora_A": (r, in), "....lora_B": (out, r), ...} of one adapter; no copies."""
    return get_adapter(model, adapter_name).state()


def save_adapter(
    model: Module, path: str | os.PathLike, adapter_name: str = "default", *, notes: dict[str, Any] | None = None
) -> None:
    """Write one adapter, its config and its base's fingerprint as one .npz file, atomically: kilobytes, without the base.

    `notes`: anything that JSON can hold, kept beside them (how it was trained). ValueError for an unknown name and for a
    merged model.
    """
    refuse_merged(model)
    adapter = get_adapter(model, adapter_name)
    metadata = {
        "method": method_of(adapter.config).name,
        "config": asdict(adapter.config),
        "factor": adapter.factor,
        "base_fingerprint": base_fingerprint(model),
        "notes": {} if notes is None else checks.mapping("notes", notes),
    }
    storage.save_arrays(path, adapter.state(), metadata)


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """What `save_adapter` wrote, checked, on no model yet. `config` is of the class that `method` names."""

    method: str
    config: Any
    factor: float | None
    base_fingerprint: str
    notes: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read_adapter(path: str | os.PathLike) -> AdapterFile:
    """Read an adapter's file without a model. FileNotFoundError, or ValueError that names the file and its fault."""
    arrays, metadata = storage.load_arrays(path)
    note = schema.check(path, metadata, METADATA)
    method = METHODS[note["method"]]
    config = schema.check(path, {"config": note["config"]}, {"config": schema.config(method.config)})["config"]
    return AdapterFile(method.name, config, note["factor"], note["base_fingerprint"], note["notes"], arrays)


def load_adapter(model: Module, path: str | os.PathLike, adapter_name: str = "default", force: bool = False) -> Any:
    """Put a saved adapter on `model` under `adapter_name` and make it the active one; returns its config.

    The base must be the one that it was trained on (see `base_fingerprint`). `force=True` puts it on another base whose
    shapes fit (the float base of an adapter trained over NF4, or another dtype, to which it is converted): whether it
    helps there is for you to measure. ValueError that lists every mismatch, before anything is changed.
    """
    checks.boolean("force", force)
    check_new_adapter(model, adapter_name)
    file = read_adapter(path)
    method = METHODS[file.method]
    faults = []
    mine = base_fingerprint(model)
    if not force and file.base_fingerprint != mine:
        faults.append(
            f"it was trained on the base {file.base_fingerprint[:12]}, this model's base is {mine[:12]}: give it the same "
            "weights, config, dtype and quantization, or pass force=True"
        )
    try:
        parts = method.parts(model, file.config, None)
        adapter = InstalledAdapter(adapter_name, parts)
        dtypes = {name: parameter.dtype for name, parameter in adapter.named_parameters()}
        arrays = _converted(file.arrays, dtypes) if force else file.arrays
        faults += [
            f"{name} must be {dtypes[name]}, got {array.dtype}"
            for name, array in arrays.items()
            if name in dtypes and array.dtype.kind == "f" and array.dtype.itemsize < dtypes[name].itemsize
        ]
        if (file.factor is None) != (adapter.factor is None):
            faults.append(f"its factor must be {'null' if adapter.factor is None else 'a number'}, got {file.factor}")
        adapter.load_state(arrays)
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise ValueError(f"{path} does not fit this model: {'; '.join(faults)}")
    if file.factor is not None:
        for part in parts.values():
            part.factor = file.factor
    put_on(model, adapter_name, parts, method.layer)
    return file.config


def _bare_modules(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    """(path, layer) of each layer below the adapters; a path ends in a dot, the model's own is ""."""
    while isinstance(module, (AdapterLayer, *MERGED)):
        module = module.origin if isinstance(module, MERGED) else module.base_layer
    yield prefix, module
    for name, child in module.named_children():
        if isinstance(child, Module):
            yield from _bare_modules(child, f"{prefix}{name}.")


def _own_arrays(module: Module, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(module, QuantizedLinear):
        yield from _packed_arrays(module.q, prefix)
    for name, child in module.named_children():
        if isinstance(child, Parameter):
            yield f"{prefix}{name}", child.value


def _packed_arrays(q: QuantizedTensor, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    what = f"{prefix}{q.code} {q.block_size} {q.shape} {np.dtype(q.dtype)}"
    yield f"{what} packed", q.packed
    if q.minima is not None:
        yield f"{what} minima", q.minima
    if q.double_quant:
        what += f" {q.absmax.scale_code}"
        yield f"{what} codes", q.absmax.codes
        yield f"{what} offset", np.array(q.absmax.offset)
        yield f"{what} absmax", q.absmax.absmax
    else:
        yield f"{what} absmax", q.absmax


def _converted(arrays, dtypes):
    """Floats in the dtypes of the adapter, where it has such an array; the rest as it is, for load_state to list."""
    with np.errstate(over="ignore"):  # what overflows is infinite, and load_state refuses it
        return {
            name: array.astype(dtypes[name]) if name in dtypes and array.dtype.kind == "f" else array
            for name, array in arrays.items()
        }
