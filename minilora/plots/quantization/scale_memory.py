"""Bits of scale a parameter, counted bytes, gigabytes."""

from minilora.plots.style import INK, color

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (13, 4.4)}


def draw(axes, numbers):
    """Left: formula against block size. Middle: counted on tensors. Right: GB for Llama's sizes."""
    formula, counted, memory = axes
    blue, orange = color("nf4"), color("int4")
    sizes, marks = numbers["block_sizes"], numbers["headline"]
    formula.plot(sizes, numbers["single_bits"], color=orange, marker="o", markersize=3)
    for second, bits in numbers["double_bits"].items():
        main = second == "256"
        formula.plot(sizes, bits, color=blue, alpha=1 if main else 0.3, marker="o" if main else None, markersize=3)
    formula.set_xscale("log", base=2)
    formula.set_yscale("log", base=2)
    formula.set_xticks(sizes, [str(size) for size in sizes])
    formula.set_yticks([2, 1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32], ["2", "1", "0.5", "0.25", "0.125", "1/16", "1/32"])
    formula.annotate("0.5", (64, marks["single"]), (76, 0.62), color=orange)
    formula.annotate(f"{marks['double']:.3f}", (64, marks["double"]), (70, 0.15), color=blue)
    formula.plot([64, 64], [marks["single"], marks["double"]], color=INK, linestyle="none", marker="o", markersize=6)
    formula.set_title("By formula: float32 scales (orange),\nquantized again (blue; faint: other second blocks)")
    formula.set_xlabel("block size")
    formula.set_ylabel("bits of scale a parameter")

    names = list(numbers["counted"])
    rows = range(len(names))
    counted.barh([r - 0.2 for r in rows], [numbers["counted"][n]["single"] for n in names], 0.38, color=orange)
    counted.barh([r + 0.2 for r in rows], [numbers["counted"][n]["double"] for n in names], 0.38, color=blue)
    for row, name in zip(rows, names, strict=True):
        counted.text(
            numbers["counted"][name]["double"] + 0.01,
            row + 0.2,
            f"{numbers['counted'][name]['double']:.4f}",
            va="center",
            fontsize=8,
        )
    counted.set_yticks(rows, names, fontsize=8)
    counted.invert_yaxis()
    counted.grid(axis="y", visible=False)
    counted.set_title("Counted bytes: small tensors pay more")
    counted.set_xlabel("bits of scale a parameter")

    models = list(numbers["gigabytes"])
    for offset, key, shade in ((-0.2, "single", orange), (0.2, "double", blue)):
        places = [i + offset for i in range(len(models))]
        heights = [numbers["gigabytes"][m][key] for m in models]
        memory.bar(places, heights, 0.38, color=shade)
        for x, y in zip(places, heights, strict=True):
            memory.text(x, y, f"{y:.2f}", ha="center", va="bottom", fontsize=8)
    memory.set_xticks(range(len(models)), models)
    memory.grid(axis="x", visible=False)
    memory.set_title("Scales of a Llama's linear layers")
    memory.set_ylabel("GB")


def caption(numbers) -> str:
    """The finding, in numbers."""
    marks, counted, gb, error = (numbers[key] for key in ("headline", "counted", "gigabytes", "error"))
    return (
        f"A float32 scale for 64 weights costs 32/64 = {marks['single']} bits a parameter; quantized again to 8 bits in blocks "
        f"of 256 it costs 8/64 + 32/(64*256) = {marks['double']:.3f}. Counted on real tensors: {counted['2048x2048']['double']:.4f} "
        f"for 2048x2048, {counted['64x64']['double']:.4f} for one 64x64. For the linear layers of Llama 65B that is "
        f"{gb['65B']['single']:.2f} GB before and {gb['65B']['double']:.2f} GB after. The error of NF4 rises from {error['none']:.5f} to "
        f"{error['dynamic']:.5f} with the dynamic map ({error['int8']:.5f} with linear int8, {error['e4m3']:.5f} with E4M3)."
    )
