"""The lessons' drawings draw what they are given."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from minilora.course import pictures

W = np.random.default_rng(0).standard_normal(64).astype(np.float32)
LINES = {"one": ([1, 2, 4], [1.0, 0.5, 0.2]), "other": ([1, 2, 4], [2.0, 1.0, 0.5])}
SETTINGS = [
    {"code": code, "block_size": size, "rms_error": 0.09, "change": 0.2, "standard_error": 0.01}
    for code, size in (("nf4", 64), ("int4_affine", 32))
]
DRAWN = [
    (pictures.thin_matrices, (4096, 8), "r = 8"),
    (pictures.rounded_block, (W,), "64 weights move to the nearest of 16 levels"),
    (pictures.memory_bars, ({"full": (14.0, 94.0), "LoRA": (14.0, 0.3)},), "LoRA removes"),
    (pictures.curves, (LINES, "step", "loss", "two lines"), "two lines"),
    (pictures.valley, (10.0 ** np.arange(-8, -2), np.ones(6), 1e-4), "h = 0.0001"),
    (pictures.attention_memory, (512, 4), "What attention keeps"),
    (pictures.scaling_of_ranks, (16, 8), "alpha = 16, r = 8"),
    (pictures.left_over, (0.8, 8), "r = 8 keeps the blue"),
    (pictures.code_under_density, (3,), "3 bits: 8 values"),
    (pictures.after_outlier, (W, 100.0), "its 63 neighbors have 1 different values left"),
    (pictures.rounded_back, (0.01,), "|dW| / |W| = 0.01: 2% of the update"),
    (pictures.rounded_back, (0.3, "int4"), "100% of the update"),
    (pictures.bits_of_block, (64, 256), ""),
    (pictures.two_levels, (0.5, [("stored", "7"), ("the weight", "0.4")]), "to one weight (0.500000 before)"),
    (pictures.step_sizes, ([1, 2], {"Adam, alpha / r": [1.0, 0.7]}, "sizes"), "sizes"),
    (pictures.histogram, (W, 0.0, "here", "x", "spread"), "spread"),
    (pictures.maps, ({"int8": np.linspace(-1, 1, 255)},), "All values"),
    (pictures.bins_used, (np.array([0.5, 0.25, 0.25]),), "2.0 times as often"),
    (pictures.loss_against_error, (SETTINGS,), "too good to be true"),
    (pictures.stored_twice, (W, "int4_affine", 32), "0.0 % away from the file"),
    (
        pictures.surface,
        ([0.1, 0.2], [1, 2, 4], np.array([[1.0, 0.5], [0.5, 0.2], [np.nan, 0.1]]), 0.2),
        "one product of alpha and rate",
    ),
    (pictures.training_curves, ({"P": {"step": [1, 2], "train": [2.0, 1.0], "held_out": [2.0, 1.5]}},), "P"),
    (pictures.codes_under_density, (("int4", "nf4"), 1.85), "NF4 is dense"),
]


@pytest.mark.parametrize(("draw", "arguments", "title"), DRAWN, ids=lambda v: getattr(v, "__name__", ""))
def test_a_picture_is_one_figure_with_its_title(draw, arguments, title):
    draw(*arguments)
    assert len(plt.get_fignums()) == 1
    titles = [text for ax in plt.gcf().axes for text in (ax.get_title(), ax.get_title("left"))]
    assert any(title in text for text in titles)
    plt.close("all")


def test_every_picture_is_drawn_here():
    public = {n for n, f in vars(pictures).items() if callable(f) and getattr(f, "__module__", "") == pictures.__name__}
    assert {draw.__name__ for draw, _, _ in DRAWN} == {name for name in public if not name.startswith("_")}


def test_bits_of_a_block_are_counted():
    pictures.bits_of_block(64, 256)
    texts = [text.get_text() for text in plt.gca().texts]
    plt.close("all")
    assert texts == ["4.500 bits per weight", "4.127 bits per weight"]
