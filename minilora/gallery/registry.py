"""Which figures there are, and which question each answers."""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure by name: `minilora.experiments.FOLDER.NAME` computes it, `minilora.plots.FOLDER.NAME` draws it."""

    name: str
    folder: str
    question: str
    fast: bool
    default: bool = True  # part of `make figures`

    @property
    def experiment(self):
        return importlib.import_module(f"minilora.experiments.{self.folder}.{self.name}")

    @property
    def plot(self):
        return importlib.import_module(f"minilora.plots.{self.folder}.{self.name}")


FIGURES = (
    Figure(
        "codebooks",
        "quantization",
        "Where do four bits put their sixteen values, and where are the weights?",
        fast=True,
    ),
    Figure(
        "quantization_error", "quantization", "How much does each 4-bit code lose, by block size and source?", fast=True
    ),
    Figure("outliers", "quantization", "Who helps against an outlier, the code or the blocks?", fast=True),
    Figure("scale_memory", "quantization", "What do the scales cost, before and after double quantization?", fast=True),
    Figure("rank_known", "rank", "Does LoRA find a change of known rank, and how good can it be?", fast=True),
    Figure("rank_fit", "rank", "How much rank do an easy and a hard task need?", fast=False),
    Figure("base_training", "training", "What has the shipped base learned, and when did it stop?", fast=True),
    Figure(
        "lr_sweep", "rank", "Which learning rate suits each method? (chosen for rank_fit)", fast=False, default=False
    ),
)


def select(names: list[str], *, fast_only: bool = False) -> list[Figure]:
    """The figures of these names (if none is given, those of `make figures`). ValueError that lists the names for an unknown one."""
    known = {figure.name: figure for figure in FIGURES}
    for name in names:
        if name not in known:
            raise ValueError(f"figure must be one of {', '.join(known)}; got {name!r}")
    chosen = [known[name] for name in names] or [figure for figure in FIGURES if figure.default]
    return [figure for figure in chosen if figure.fast or not fast_only]
