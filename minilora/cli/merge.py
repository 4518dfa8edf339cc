"""`minilora merge`: an adapter and its base as one dense model, which every command takes as --model."""

import argparse
from pathlib import Path

from minilora.adapters import merge_lora
from minilora.cli import models, output
from minilora.interop import FileTokenizer, save_llama
from minilora.nn.files import save_model

HELP = "make one dense model of an adapter and its base"
EXAMPLE = "python -m minilora merge --adapter my_run --out my_model.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--adapter", required=True, metavar="PATH", help="an adapter's file, or the folder of a run")
    parser.add_argument(
        "--out", required=True, metavar="PATH", help="the model to write: a .npz, or a folder that transformers loads"
    )
    parser.add_argument("--model", metavar="MODEL", help=f"{models.MODELS} (default: the adapter's)")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), help="of the weights in a folder (default: the model's)"
    )
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the merged model: W + s B A in every layer, a 4-bit base decoded first."""
    out = output.Output(args)
    path = Path(args.out)
    if path.suffix and path.suffix != ".npz" and not path.is_dir():
        raise ValueError(f"--out must end in .npz or be a folder, got {args.out!r}")
    if path.suffix == ".npz" and args.dtype is not None:
        raise ValueError(f"--dtype must be left out for a .npz, which keeps the model's own, got {args.dtype}")
    model, tokenizer, template, notes = models.open_with_adapter(args.model, args.adapter)
    foreign = isinstance(tokenizer, FileTokenizer)
    if path.suffix == ".npz" and foreign:
        raise ValueError(f"--out must be a folder for a model with a tokenizer of its own, got {args.out!r}")
    merged = merge_lora(model, keep_unmerged=False)
    if path.suffix == ".npz":
        note = {"adapter": str(Path(args.adapter).name), "tokenizer": "bytes", "template": template.pattern, **notes}
        save_model(model, path, note)
        size = path.stat().st_size
    else:
        save_llama(model, path, dtype=args.dtype, tokenizer=tokenizer if foreign else None)
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    use = f"use it as --model {path}" if foreign or path.suffix else "transformers loads it"
    out.result(
        {"out": str(path), "layers": len(merged), "bytes": size, "dtype": str(model.dtype)},
        f"merged    {len(merged)} layers, {model.dtype}",
        f"wrote     {path} ({output.size(size)}); {use}",
    )
    return 0
