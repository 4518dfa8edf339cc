"""Which figures there are, and which question each answers."""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Figure:
    """A figure by name: `minilora.experiments.FOLDER.NAME` computes it, `minilora.plots.FOLDER.NAME` draws it.

    `fast`: it takes seconds, so that every check of the repository can compute it again. `headline`: it is one of
    `make figures` and its finding stands in the README; all others are made by `make all-figures`.
    """

    folder: str
    name: str
    question: str
    fast: bool = False
    headline: bool = False

    @property
    def experiment(self) -> ModuleType:
        """Config, run(config, each), TOLERANCE."""
        return importlib.import_module(f"minilora.experiments.{self.folder}.{self.name}")

    @property
    def plot(self) -> ModuleType:
        """LAYOUT, draw(axes, numbers), caption(numbers)."""
        return importlib.import_module(f"minilora.plots.{self.folder}.{self.name}")


FIGURES = (
    Figure(
        "quantization",
        "codebooks",
        "Where do four bits put their sixteen values, and where are the weights?",
        fast=True,
        headline=True,
    ),
    Figure(
        "quantization",
        "quantization_error",
        "How much does each 4-bit code lose, by block size and source?",
        fast=True,
        headline=True,
    ),
    Figure(
        "quantization",
        "outliers",
        "What helps against an outlier, the code or the blocks?",
        fast=True,
        headline=True,
    ),
    Figure(
        "quantization",
        "scale_memory",
        "What do the scales cost, before and after double quantization?",
        fast=True,
        headline=True,
    ),
    Figure("quantization", "optimal_code", "Is NF4 the best code for normal weights?"),
    Figure("quantization", "error_by_bits", "Which code for how many bits?"),
    Figure("quantization", "quantized_loss", "Is the code with the least error the one with the least loss?"),
    Figure("quantization", "qlora", "How much of what quantizing took does training win back?"),
    Figure("quantization", "better_starts", "LoftQ and PiSSA over few bits: nearer at first, better at last?"),
    Figure("quantization", "merge_into_4bit", "What is left of an adapter that is merged into four bits?"),
    Figure("quantization", "scale_codecs", "How should eight bits hold a scale?", fast=True),
    Figure("quantization", "rotation", "Does a rotation before quantizing help?", fast=True),
    Figure(
        "rank",
        "rank_known",
        "Does LoRA find a change of known rank, and how good can it be?",
        fast=True,
        headline=True,
    ),
    Figure("rank", "rank_fit", "So many steps, so much rank: how far does each come on a hard task?", headline=True),
    Figure(
        "training",
        "base_training",
        "What has the shipped base learned, and when did it stop?",
        fast=True,
        headline=True,
    ),
    Figure("training", "merge_and_switch", "What do merging and switching cost, and which bits do they leave?"),
    Figure("methods", "methods", "What does each method learn in equal steps, and what does it cost?"),
    Figure("methods", "init", "Which of A and B should start random?"),
    Figure("methods", "loraplus", "Should B learn faster than A?"),
    Figure("methods", "target_modules", "On which layers is a budget of parameters best spent?"),
    Figure("methods", "forgetting", "Does what learns less forget less?"),
    Figure("methods", "trainable_alpha", "Does it pay to learn alpha?"),
    Figure("training", "training_memory", "Where does the memory of training go?", fast=True),
    Figure("rank", "rate_by_steps", "Which learning rate suits which number of steps?"),
    Figure("rank", "rank_curves", "Does the hard task need more rank, or more steps?"),
    Figure("rank", "capacity", "How many bits does an adapter hold?"),
    Figure("training", "finetune_defaults", "With which settings are 200 records enough?"),
    Figure("training", "small_data", "What helps on 256 records?"),
    Figure("training", "batch_size", "Does LoRA tolerate large batches worse than full fine-tuning?"),
    Figure("training", "trouble", "Out of memory, a poor fit, divergence: what does each remedy change?"),
    Figure("rank", "rate_by_rank", "Which learning rate suits which rank, and what does alpha do to it?"),
    Figure("rank", "delta_spectrum", "What does fine-tuning do to the weights' singular vectors?"),
)


def select(names: list[str], *, every: bool = False, fast_only: bool = False) -> list[Figure]:
    """The figures of these names; if none is given, the headline ones, or all of them with `every`.

    ValueError that lists the names for an unknown one.
    """
    known = {figure.name: figure for figure in FIGURES}
    for name in names:
        if name not in known:
            raise ValueError(f"figure must be one of {', '.join(known)}; got {name!r}")
    chosen = [known[name] for name in dict.fromkeys(names)]
    chosen = chosen or [figure for figure in FIGURES if figure.headline or every]
    return [figure for figure in chosen if figure.fast or not fast_only]
