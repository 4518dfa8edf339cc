"""`minilora quantize`: what four bits would do to each tensor of a file."""

import argparse
from pathlib import Path
from typing import Any

from minilora import storage
from minilora.cli import output
from minilora.interop.files import open_tensors
from minilora.interop.survey import survey, total

HELP = "error and bytes of each tensor of a file under four-bit codes (safetensors, GGUF, npz, a folder)"
EXAMPLE = "python -m minilora quantize model.safetensors --codes nf4,int4 --block-sizes 64"
CODES, BLOCK_SIZES = "nf4,int4,int4_affine,fp4", "64"
FORMATS = (".png", ".svg")
NAME_WIDTH = 44  # characters of a tensor's name that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("path", metavar="PATH", help="a .safetensors, .gguf or .npz file, or a Hugging Face folder")
    parser.add_argument("--codes", default=CODES, metavar="A,B", help=f"which codes (default: {CODES})")
    parser.add_argument("--block-sizes", default=BLOCK_SIZES, metavar="N,N", help=f"(default: {BLOCK_SIZES})")
    parser.add_argument("--double-quant", action="store_true", help="quantize the scales, too (not of int4_affine)")
    parser.add_argument("--plot", metavar="FILE", help="draw the errors, a .png or .svg")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each matrix as it is done, and at the end all of them together. Nothing of the file is changed."""
    out = output.Output(args)
    codes = [code.strip() for code in args.codes.split(",")]
    block_sizes = [_size(text) for text in args.block_sizes.split(",")]
    if args.plot is not None and Path(args.plot).suffix not in FORMATS:
        raise ValueError(f"--plot must end in {' or '.join(FORMATS)}, got {args.plot!r}")
    tensors = open_tensors(args.path)
    columns = [f"{code}/{size}" for code in codes for size in block_sizes]
    rows, skipped = [], {}
    if out.talks:
        print("RMS error in percent of the RMS, for each code and block size; kurtosis of a normal law: 3")
        print(f"{'tensor':{NAME_WIDTH}} {'shape':>14} {'stored':>6} {'kurtosis':>8}", *(f"{c:>14}" for c in columns))
    for row in survey(tensors, codes, block_sizes, double_quant=args.double_quant):
        rows.append(row)
        if row["skipped"]:
            skipped.setdefault(row["skipped"], []).append(row["name"])
        elif out.talks:
            print(_line(row), flush=True)
    together = total(rows)
    lines = [f"skipped   {len(names)} tensors ({why}), {names[0]} the first" for why, names in skipped.items()]
    quantized = [row for row in rows if row["results"]]
    stored = sum(row["bytes"] for row in quantized)
    lines.append(
        f"matrices  {len(quantized)}, {sum(row['values'] for row in quantized):,} values, {output.size(stored)}"
    )
    for result in together:
        lines.append(
            f"{result['code'] + '/' + str(result['block_size']):18} {output.size(result['bytes']):>9}, "
            f"{result['bits_per_param']:.3f} bits per parameter, RMS error {100 * result['rms_error']:.2f} %, mean "
            f"absolute error {100 * result['mean_absolute_error']:.2f} %"
        )
    numbers = {"path": str(args.path), "double_quant": args.double_quant, "tensors": rows, "total": together}
    if args.plot is not None:
        _draw(numbers, Path(args.plot))
        lines.append(f"wrote     {args.plot}")
    out.result(numbers, *lines)
    return 0


def _line(row: dict[str, Any]) -> str:
    name = row["name"] if len(row["name"]) <= NAME_WIDTH else "..." + row["name"][3 - NAME_WIDTH :]
    shape = "x".join(map(str, row["shape"]))
    errors = (f"{100 * result['rms_error']:14.2f}" for result in row["results"])
    return " ".join([f"{name:{NAME_WIDTH}} {shape:>14} {row['dtype']:>6} {row['kurtosis']:8.1f}", *errors])


def _size(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"--block-sizes must be whole numbers such as 32,64, got {text!r}")
    return int(text)


def _draw(numbers: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from minilora.plots import quantized_file
    from minilora.plots.style import RC

    with plt.rc_context():
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not get into the picture
        matplotlib.rcParams.update(RC)
        figure, axes = plt.subplots(**quantized_file.LAYOUT)
        quantized_file.draw(axes, numbers)
        suffix = path.suffix.removeprefix(".")
        metadata = {"Date": None} if suffix == "svg" else {"Software": None}
        storage.write_atomically(path, lambda file: figure.savefig(file, format=suffix, metadata=metadata))
        plt.close(figure)
