"""What few bits cost each tensor of a file: its error and its bytes under each code, one tensor in memory at a time."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minilora import checks
from minilora.interop.assemble import INTEGERS
from minilora.interop.tensors import LazyTensor, TensorSource
from minilora.quant import QuantizedTensor, quantize

PIECE = 2**20  # values compared at a time, in float64


def survey(
    tensors: TensorSource, codes: Sequence[str], block_sizes: Sequence[int], *, double_quant: bool = False
) -> Iterator[dict[str, Any]]:
    """A row for each tensor: {"name", "shape", "dtype", "values", "bytes", "skipped", "kurtosis", "rms", "results"}.

    `results`: {"code", "block_size", "bytes", "bits_per_param", "rms_error", "mean_absolute_error"} for each code and block
    size, errors relative to the RMS of the tensor. Vectors, integers and what is all zero are not quantized: `skipped`
    says why, and there are no results. Raises ValueError for an unknown code or block size, before anything is read,
    and, with the file and the tensor, for what cannot be quantized: NaN, infinity, values beyond float32.
    """
    if not codes or not block_sizes:
        raise ValueError(f"codes and block_sizes must not be empty, got {codes!r} and {block_sizes!r}")
    for code in checks.strings("codes", list(codes)):
        for block_size in block_sizes:
            quantize(np.ones((1, 1), np.float32), code, block_size=block_size, double_quant=_doubly(code, double_quant))
    for name, tensor in tensors.items():
        yield _row(name, tensor, codes, block_sizes, double_quant)


def total(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All quantized tensors of a survey together, one result for each code and block size, in the order of the rows."""
    sums: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        for result in row["results"]:
            entry = sums.setdefault(
                (result["code"], result["block_size"]), dict.fromkeys(("n", "b", "w", "e", "a"), 0.0)
            )
            square, n = row["rms"] ** 2 * row["values"], row["values"]
            entry["n"], entry["b"], entry["w"] = entry["n"] + n, entry["b"] + result["bytes"], entry["w"] + square
            entry["e"] += result["rms_error"] ** 2 * square
            entry["a"] += result["mean_absolute_error"] * row["rms"] * n
    return [
        {
            "code": code,
            "block_size": block_size,
            "bytes": int(s["b"]),
            "bits_per_param": 8 * s["b"] / s["n"],
            "rms_error": math.sqrt(s["e"] / s["w"]),
            "mean_absolute_error": s["a"] / s["n"] / math.sqrt(s["w"] / s["n"]),
        }
        for (code, block_size), s in sums.items()
    ]


def _row(name, tensor: LazyTensor, codes, block_sizes, double_quant):
    row = {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype, "values": math.prod(tensor.shape)}
    row |= {"bytes": tensor.nbytes, "skipped": None, "kurtosis": None, "rms": None, "results": []}
    if tensor.dtype in INTEGERS:
        return row | {"skipped": "integers"}
    if len(tensor.shape) < 2 or not row["values"]:
        return row | {"skipped": "a vector" if len(tensor.shape) == 1 and row["values"] else "no matrix"}
    path = getattr(tensor, "path", None)
    where = name if path is None else f"{path}: {name}"
    w = checks.finite(f"{where} as float32", tensor.read(np.float32))
    square, fourth = _moments(w)
    if not square:
        return row | {"skipped": "all zero"}
    row |= {"rms": math.sqrt(square), "kurtosis": fourth / square**2}
    for code in codes:
        for block_size in block_sizes:
            try:
                q = quantize(w, code, block_size=block_size, double_quant=_doubly(code, double_quant))
            except ValueError as error:  # values so large that what a block keeps is beyond float32
                raise ValueError(f"{where}: {error}") from error
            row["results"].append({"code": code, "block_size": block_size} | _errors(q, w, row["rms"]))
    return row


def _moments(w):
    """Mean square and mean fourth power about the mean; for weights, whose mean is near zero, the scale of all errors."""
    flat = w.reshape(-1)
    square = fourth = 0.0
    for start in range(0, flat.size, PIECE):
        part = np.square(flat[start : start + PIECE], dtype=np.float64)
        square, fourth = square + part.sum(), fourth + np.vdot(part, part)
    return float(square / flat.size), float(fourth / flat.size)


def _errors(q: QuantizedTensor, w, rms):
    decoded, flat = q.dequantize().reshape(-1), w.reshape(-1)
    square = absolute = 0.0
    for start in range(0, flat.size, PIECE):
        piece = slice(start, start + PIECE)
        difference = np.subtract(decoded[piece], flat[piece], dtype=np.float64)
        square, absolute = square + np.vdot(difference, difference), absolute + np.abs(difference).sum()
    return {
        "bytes": q.nbytes,
        "bits_per_param": q.bits_per_param,
        "rms_error": float(math.sqrt(square / flat.size) / rms),
        "mean_absolute_error": float(absolute / flat.size / rms),
    }


def _doubly(code, double_quant):
    """Affine int4 keeps its two statistics in float32."""
    return double_quant and code != "int4_affine"
