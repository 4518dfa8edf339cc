"""Error against block size, for each code and source."""

from minilora.plots.style import color, label

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (10, 7.6), "sharex": True}
TITLES = {
    "normal": "Normal weights",
    "student_t": "Heavy tails (Student's t, 4 degrees of freedom)",
    "uniform": "Uniform weights",
    "base": "The base's real weights",
}


def draw(axes, numbers):
    """One panel a source: RMS error as a share of the weights' RMS."""
    sizes = numbers["block_sizes"]
    for ax, (source, codes) in zip(axes.flat, numbers["error"].items(), strict=True):
        for code, errors in codes.items():
            ax.plot(sizes, errors["rms"]["mean"], color=color(code), label=label(code), marker="o", markersize=3)
        ax.set_title(TITLES[source])
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
        ax.set_ylim(bottom=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("RMS error / RMS of the weights")
    for ax in axes[1]:
        ax.set_xlabel("block size (weights that share a scale)")
    axes[0, 0].legend(loc="lower right", ncols=2)


def caption(numbers) -> str:
    """The finding, in numbers."""
    sizes, errors = numbers["block_sizes"], numbers["error"]

    def rms(source, code, size):
        return errors[source][code]["rms"]["mean"][sizes.index(size)]

    wins = [b for b in sizes if rms("normal", "int4_affine", b) < rms("normal", "nf4", b)]
    layers = list(numbers["layers"].values())
    best = sum(layer["nf4"] < layer["int4"] for layer in layers)
    return (
        f"On normal weights in blocks of 64, NF4 loses {rms('normal', 'nf4', 64):.4f} of the RMS, int4 "
        f"{rms('normal', 'int4', 64):.4f}, FP4 of bitsandbytes {rms('normal', 'fp4', 64):.4f}, AF4 "
        f"{rms('normal', 'af4', 64):.4f}. Affine int4, which stores a second number a block, beats NF4 at block sizes "
        f"{', '.join(map(str, wins))} and loses above. With heavy tails the block size matters more than the code (NF4 at 64: "
        f"{rms('student_t', 'nf4', 64):.3f}, at 4096: {rms('student_t', 'nf4', 4096):.3f}); on uniform weights int4 wins "
        f"({rms('uniform', 'int4', 64):.4f} against {rms('uniform', 'nf4', 64):.4f}). On {best} of the base's {len(layers)} "
        f"matrices NF4 beats int4 ({rms('base', 'nf4', 64):.4f} against {rms('base', 'int4', 64):.4f} over all)."
    )
