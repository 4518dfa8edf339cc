"""`minilora merge`: an adapter and its base as one dense model, which every command takes as --model."""

import argparse
from pathlib import Path

from minilora.adapters import merge_lora
from minilora.cli import models, output
from minilora.nn.files import save_model

HELP = "make one dense model of an adapter and its base"
EXAMPLE = "python -m minilora merge --adapter my_run --out my_model.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--adapter", required=True, metavar="PATH", help="an adapter's file, or the folder of a run")
    parser.add_argument("--out", required=True, metavar="FILE", help="the model to write, a .npz")
    parser.add_argument("--model", metavar="MODEL", help="base, or a .npz that merge wrote (default: the adapter's)")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the merged model: W + s B A in every layer, a 4-bit base decoded first."""
    out = output.Output(args)
    path = Path(args.out)
    if path.suffix != ".npz":
        raise ValueError(f"--out must end in .npz, got {args.out!r}")
    model, _, template, notes = models.open_with_adapter(args.model, args.adapter)
    merged = merge_lora(model, keep_unmerged=False)
    save_model(
        model,
        path,
        {"adapter": str(Path(args.adapter).name), "tokenizer": "bytes", "template": template.pattern, **notes},
    )
    size = path.stat().st_size
    out.result(
        {"out": str(path), "layers": len(merged), "bytes": size, "dtype": str(model.dtype)},
        f"merged    {len(merged)} layers, {model.dtype}",
        f"wrote     {path} ({output.size(size)}); use it as --model {path}",
    )
    return 0
