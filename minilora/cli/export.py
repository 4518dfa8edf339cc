"""`minilora export`: an adapter in PEFT's form."""

import argparse
from pathlib import Path

from minilora.adapters import adapter_state
from minilora.cli import models, output
from minilora.interop import save_peft_adapter

HELP = "write an adapter as a folder that PEFT loads"
EXAMPLE = "python -m minilora export --adapter my_run --out my_adapter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--adapter", required=True, metavar="PATH", help="an adapter's file, or the folder of a run")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--model", metavar="MODEL", help=f"{models.MODELS} (default: the adapter's)")
    parser.add_argument("--base", metavar="NAME", help="what the folder says of its base (default: that of --model)")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write adapter_config.json and adapter_model.safetensors."""
    out = output.Output(args)
    opened = models.open_with_adapter(args.model, args.adapter)
    base = args.base or args.model or opened.notes.get("model")
    save_peft_adapter(opened.model, args.out, base_model=base)
    parameters = sum(array.size for array in adapter_state(opened.model).values())
    out.result(
        {"out": str(Path(args.out)), "parameters": parameters, "base": base},
        f"wrote     {args.out}: {parameters:,} parameters; in PEFT: PeftModel.from_pretrained(base, {args.out!r})",
    )
    return 0
