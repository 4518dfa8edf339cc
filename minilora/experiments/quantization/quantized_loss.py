"""Is the code with the least error the code with the least loss? The base under each code, window by window."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import linear_paths, quantize_linears
from minilora.analysis.error import rms_error
from minilora.assets import load_base
from minilora.data import ByteTokenizer, corpus
from minilora.experiments.training.pretrain import held_out_windows
from minilora.nn import Llama

TOLERANCE = {"rtol": 0.05, "atol": 5e-4}


@dataclass(frozen=True)
class Setting:
    """One way of storing the base's linear layers."""

    code: str
    block_size: int = 64
    double_quant: bool = False

    @property
    def name(self) -> str:
        """The code, then what differs from blocks of 64 with float32 scales."""
        return f"{self.code}{' double' * self.double_quant}{f', {self.block_size}' * (self.block_size != 64)}"


@dataclass(frozen=True)
class Config:
    settings: tuple[Setting, ...] = (
        *(Setting(c) for c in ("nf4", "af4", "int4", "int4_full", "int4_affine", "fp4", "fp4_e2m1", "nf3", "nf2")),
        Setting("nf4", double_quant=True),
        *(Setting(c, size) for size in (32, 256) for c in ("nf4", "int4", "fp4", "int4_affine")),
    )
    windows: int = 96


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "float": the loss, nats per byte, mean over the windows, with its standard error. For each setting by name: "bits" per
    parameter of the linear layers, "error" (RMS error of all their weights over their RMS), "change" (mean difference of
    loss to float, paired over windows) and "standard_error" of that difference.
    """
    ids, labels = held_out(config.windows)
    reference = window_losses(load_base(), ids, labels)
    by_name = {}
    for setting, result in zip(
        config.settings, each(_one, [(s, config.windows) for s in config.settings]), strict=True
    ):
        difference = np.array(result.pop("losses")) - reference
        by_name[setting.name] = result | {
            "code": setting.code,
            "block_size": setting.block_size,
            "change": float(difference.mean()),
            "standard_error": standard_error(difference),
        }
    return {
        "windows": len(reference),
        "float": {"loss": float(reference.mean()), "standard_error": standard_error(reference)},
        "settings": by_name,
    }


def held_out(windows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first windows of the text that the base was not trained on.    token_ids, labels: (windows, 256) int64"""
    sections = corpus.split_sections(corpus.sections(corpus.load_topics()))[1]
    ids, labels = held_out_windows(corpus.encode_sections(sections, ByteTokenizer()))
    return ids[:windows], labels[:windows]


def window_losses(model: Llama, token_ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each row by itself, nats per byte.    token_ids, labels: (N, T) -> (N,) float64"""
    pairs = zip(token_ids[:, None], labels[:, None], strict=True)
    return np.array([float(model.loss(ids, label, inference=True)[0]) for ids, label in pairs])


def standard_error(values: np.ndarray) -> float:
    """Of the mean of independent values."""
    return float(values.std(ddof=1) / np.sqrt(values.size))


def _one(item):
    setting, windows = item
    model = load_base()
    before = np.concatenate([layer.dense_weight().reshape(-1) for layer in linear_paths(model).values()])
    quantize_linears(model, setting.code, block_size=setting.block_size, double_quant=setting.double_quant)
    layers = list(linear_paths(model).values())
    after = np.concatenate([layer.dense_weight().reshape(-1) for layer in layers])
    return {
        "losses": window_losses(model, *held_out(windows)).tolist(),
        "bits": 8 * sum(layer.nbytes for layer in layers) / before.size,
        "error": rms_error(after, before),
    }
