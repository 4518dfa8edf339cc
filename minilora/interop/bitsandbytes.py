"""Four-bit weights as bitsandbytes stores them in a state dict, bytes equal, with and without double quantization.

Beside the packed codes ("weight", a column of bytes) stand "weight.absmax", "weight.quant_map" and
"weight.quant_state.bitsandbytes__nf4", which is JSON as an array of bytes; with nested (double) quantization absmax holds
eight bits per block, and "weight.nested_absmax" and "weight.nested_quant_map" what they mean.
(bitsandbytes/functional.py, QuantState.as_dict)
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilora import checks
from minilora.quant import QuantizedScales, QuantizedTensor, get_codebook, scale_map
from minilora.quant.double import SCALE_BLOCK_SIZE

CODES = ("nf4", "fp4")
DTYPES = ("float32", "float16", "bfloat16")
SCALE_CODE = "dynamic"
STATE = "quant_state.bitsandbytes__"


def to_bitsandbytes(q: QuantizedTensor, name: str = "weight", *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The arrays of a state dict for `q`, under `name` and names that begin with it.

    `dtype`: the dtype to which bitsandbytes decodes. ValueError for a code or a scale code that bitsandbytes does not have.
    """
    checks.instance("q", q, QuantizedTensor)
    name = checks.string("name", name)
    checks.one_of("q.code", q.code, CODES)
    checks.one_of("dtype", dtype, DTYPES)
    state: dict[str, Any] = {"quant_type": q.code, "blocksize": q.block_size, "dtype": dtype, "shape": list(q.shape)}
    arrays = {name: q.packed[:, None]}
    if q.double_quant:
        checks.one_of("q.absmax.scale_code", q.absmax.scale_code, (SCALE_CODE,))
        arrays[f"{name}.absmax"] = q.absmax.codes
        arrays[f"{name}.nested_absmax"] = q.absmax.absmax
        arrays[f"{name}.nested_quant_map"] = scale_map(SCALE_CODE)
        state |= {"nested_blocksize": SCALE_BLOCK_SIZE, "nested_dtype": "float32"}
        state["nested_offset"] = float(q.absmax.offset)
    else:
        arrays[f"{name}.absmax"] = q.absmax
    arrays[f"{name}.quant_map"] = get_codebook(q.code).decoding + np.float32(0)  # no -0.0 there
    arrays[f"{name}.{STATE}{q.code}"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    return arrays


def from_bitsandbytes(
    arrays: Mapping[str, np.ndarray], name: str = "weight", *, dtype: np.dtype | type = np.float32
) -> QuantizedTensor:
    """The QuantizedTensor that a state dict holds under `name`; it decodes to `dtype`. No array is copied.

    ValueError, naming the key, for what is missing, does not fit together, or is a code that is not known here.
    """
    arrays, name = checks.mapping("arrays", arrays), checks.string("name", name)
    dtype = checks.float_dtype("dtype", dtype)
    state = _state(arrays, name)
    if state.get("quant_type") not in CODES:
        raise ValueError(f"{name}: quant_type must be one of {', '.join(CODES)}, got {state.get('quant_type')!r}")
    code = state["quant_type"]
    if state.get("dtype") not in DTYPES:
        raise ValueError(f"{name}: dtype must be one of {', '.join(DTYPES)}, got {state.get('dtype')!r}")
    _same(f"{name}.quant_map", _get(arrays, f"{name}.quant_map"), get_codebook(code).decoding)
    absmax = _get(arrays, f"{name}.absmax")
    try:
        if "nested_blocksize" in state:
            _same(f"{name}.nested_quant_map", _get(arrays, f"{name}.nested_quant_map"), scale_map(SCALE_CODE))
            checks.one_of("nested_blocksize", state["nested_blocksize"], (SCALE_BLOCK_SIZE,))
            checks.one_of("nested_dtype", state.get("nested_dtype"), ("float32",))
            offset = np.float32(checks.real("nested_offset", state.get("nested_offset")))
            absmax = QuantizedScales(absmax, _get(arrays, f"{name}.nested_absmax"), offset, SCALE_CODE)
        packed = _get(arrays, name)
        if packed.ndim == 2 and 1 in packed.shape:
            packed = packed.reshape(-1)
        shape = checks.instance("shape", state.get("shape"), list)
        return QuantizedTensor(packed, absmax, tuple(shape), dtype, code, state.get("blocksize"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def _state(arrays, name):
    keys = [key for key in arrays if key.startswith(f"{name}.{STATE}")]
    if len(keys) != 1:
        raise ValueError(f"arrays must hold one key {name}.{STATE}nf4 or fp4, got {', '.join(keys) or 'none'}")
    raw = arrays[keys[0]]
    try:
        state = json.loads(np.asarray(raw, np.uint8).tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{keys[0]} is not JSON ({error})") from error
    if not isinstance(state, dict) or keys[0] != f"{name}.{STATE}{state.get('quant_type')}":
        raise ValueError(f"{keys[0]} must hold an object with the quant_type of its name, got {checks.shown(state)}")
    return state


def _get(arrays, key):
    if key not in arrays:
        raise ValueError(f"{key} is missing")
    return arrays[key]


def _same(key, given, expected):
    if not np.array_equal(given, expected):
        raise ValueError(f"{key} must be the published table, got another one; this code is not known here")
