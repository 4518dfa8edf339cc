"""From a source of tensors to a Llama, one tensor at a time: read, quantized on request, and forgotten."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters import QuantizedLinear, match_targets
from minilora.interop.tensors import TensorSource
from minilora.nn import Llama, LlamaConfig
from minilora.quant import quantize as quantize_array

STORED = "stored"  # as `quantize`: keep what is in few bits already
INTEGERS = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def assemble(
    config: LlamaConfig,
    tensors: TensorSource,
    origin: str,
    *,
    dtype: np.dtype | type = np.float32,
    quantize: str | Mapping[str, Any] | None = None,
) -> Llama:
    """A Llama of `config` with the weights of `tensors`, named by the model's own paths ("layers.0.mlp.up_proj.weight").

    `quantize`: None, a code ("nf4"), or the arguments of `quantize_linears` as a dict, {"code": "nf4", "double_quant": True};
    then each target is quantized as it comes, and the dense model never exists. "stored" keeps the targets whose file
    holds them in a code that is known here (GGUF's Q4_1), and decodes the others. `origin` is the file's name for messages.
    ValueError that lists all that is missing, unexpected or of another shape, before anything is read; then for NaN or
    infinity in a tensor.
    """
    if config.num_hidden_layers > len(tensors):
        raise ValueError(
            f"{origin} holds {len(tensors)} tensors, too few for the {config.num_hidden_layers} layers of its config"
        )
    values = sum(math.prod(tensor.shape) for tensor in tensors.values())
    norms = 2 * config.num_hidden_layers + 1  # whose gains a skeleton makes, before any shape is compared
    if norms * config.hidden_size > values:
        raise ValueError(
            f"{origin} holds {values} values, too few for the hidden_size {config.hidden_size} and "
            f"{config.num_hidden_layers} layers of its config"
        )
    model = Llama.skeleton(config, dtype)
    check_fits(model, tensors, origin)
    options, targets = _quantization(model, quantize)
    kept = 0
    for path, parameter in list(model.named_parameters()):
        layer = path.removesuffix(".weight")
        q = (
            _as_stored(tensors[path], model.dtype, f"{origin}: {path}")
            if options is None and layer in targets
            else None
        )
        if q is not None:
            model.set_submodule(layer, QuantizedLinear(q))
            kept += 1
            continue
        value = checks.finite(f"{origin}: {path}", tensors[path].read(model.dtype))
        if options and layer in targets:
            model.set_submodule(layer, QuantizedLinear(quantize_array(value, **options)))
        else:
            parameter.value = value
    if options is None and not kept:
        raise ValueError(
            f"{origin} holds no layer in a code that is known here, which quantize={STORED!r} keeps; try 'nf4'"
        )
    return model


def check_fits(model: Llama, tensors: TensorSource, origin: str) -> None:
    """ValueError with every name that is missing or unexpected, and every shape or dtype that does not fit."""
    expected = {path: parameter.shape for path, parameter in model.named_parameters()}
    wrong = [f"{path} is missing" for path in expected if path not in tensors]
    wrong += [f"{path} is unexpected" for path in tensors if path not in expected]
    for path in expected:
        if path in tensors and tensors[path].shape != expected[path]:
            wrong.append(f"{path} has shape {tensors[path].shape} instead of {expected[path]}")
        elif path in tensors and tensors[path].dtype in INTEGERS:
            wrong.append(f"{path} holds {tensors[path].dtype} instead of floats")
    if wrong:
        raise ValueError(f"{origin} does not fit its config:\n  " + "\n  ".join(wrong))


def _quantization(model, quantize):
    """The arguments of `quant.quantize` (None: keep what is stored), and the paths of the layers that are meant."""
    if quantize is None:
        return {}, {}
    if isinstance(quantize, str) and quantize == STORED:
        return None, match_targets(model, "all-linear")
    options = {"code": quantize} if isinstance(quantize, str) else checks.mapping("quantize", quantize)
    targets = match_targets(model, options.pop("target_modules", "all-linear"))
    known = ("code", "block_size", "double_quant", "scale_code")
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"quantize must have only {', '.join((*known, 'target_modules'))}, got {', '.join(unknown)}")
    quantize_array(np.zeros(1, np.float32), **options)  # a wrong argument is an error before a gigabyte has been read
    return options, targets


def _as_stored(tensor, dtype, name):
    """The tensor's own few bits as a QuantizedTensor, its statistics checked to be finite; None if they are unknown here."""
    q = tensor.as_quantized(dtype)
    if q is not None:
        checks.finite(f"{name}, span", q.absmax)
        checks.finite(f"{name}, minimum", q.minima)
    return q
