"""Two pictures: training speed as bars, and the roofline.

The colours are those of Okabe and Ito, which remain distinct to the colour-blind; contestants differ by hatching or
marker as well.
"""

from __future__ import annotations

import numpy as np

from minicnn.bench import contestants

COLORS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#000000")
HATCHES = ("", "//", "", "\\\\", "", "..", "xx", "++")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
LABELS = {"pytorch": "PyTorch", "pytorch-cl": "PyTorch, channels_last", "pytorch-cuda": "PyTorch on the GPU",
          "pytorch-cuda-tf32": "PyTorch on the GPU, TF32", "keras": "Keras on TensorFlow", "jax": "JAX"}


def write(summary, folder):
    """Write the pictures for which there are figures; returns their paths."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    written = []
    for name, draw in (("bench-training.png", training), ("bench-roofline.png", roofline)):
        figure = draw(summary, pyplot)
        if figure is not None:
            figure.savefig(folder / name, dpi=150)
            pyplot.close(figure)
            written.append(folder / name)
    return written


def training(summary, pyplot):
    """Bars: images per second, a group for each network and batch size."""
    entries = [entry for entry in summary["timings"] if entry["section"] == "training"]
    if not entries:
        return None
    works = list(dict.fromkeys(entry["work"] for entry in entries))
    names = list(dict.fromkeys(entry["contestant"] for entry in entries))
    rates = {(entry["work"], entry["contestant"]): entry["rate"] for entry in entries}
    width = 0.85 / len(names)
    figure, axes = pyplot.subplots(figsize=(max(7, 1.2 + 1.7 * len(works)), 4.8), layout="constrained")
    for place, name in enumerate(names):
        x = np.arange(len(works)) + (place - (len(names) - 1) / 2) * width
        heights = [rates.get((work, name), 0) for work in works]
        bars = axes.bar(x, heights, width * 0.92, label=label(name), color=COLORS[place % 8], hatch=HATCHES[place % 8],
                        edgecolor="white", linewidth=0.5)
        axes.bar_label(bars, [f"{height:,.0f}" if height else "" for height in heights], rotation=90, padding=3,
                       fontsize=8)
    axes.set_xticks(range(len(works)), [work.replace(" batch", "\nbatch") for work in works])
    axes.set_ylabel("images per second")
    axes.margins(y=0.16)
    axes.spines[["top", "right"]].set_visible(False)
    legend(figure)
    axes.set_title(f"Training ({machine(summary)})", loc="left", fontsize=11)
    return figure


def roofline(summary, pyplot):
    """Speed over arithmetic intensity, below the two limits of the machine."""
    entries = [entry for entry in summary["timings"] if entry["flops"] and entry["bytes"]
               and entry["contestant"] != contestants.MACHINE and entry["section"] != "ladder"]
    limits = {entry["job"]: entry["rate"] for entry in summary["timings"] if entry["section"] == "machine"}
    if not entries or len(limits) < 2:
        return None
    names = list(dict.fromkeys(entry["contestant"] for entry in entries))
    figure, axes = pyplot.subplots(figsize=(8, 5.6), layout="constrained")
    intensities = [entry["flops"] / entry["bytes"] for entry in entries]
    x = np.geomspace(min(intensities) / 1.5, max(intensities) * 1.5, 200)
    axes.plot(x, np.minimum(limits["sgemm"], limits["copy"] * x), color="black", linewidth=1.5)
    axes.annotate(f"NumPy's sgemm: {limits['sgemm']:.0f} GFLOP/s", (x[-1], limits["sgemm"]), xytext=(0, 4),
                  textcoords="offset points", ha="right", fontsize=9)
    axes.annotate(f"copying memory: {limits['copy']:.1f} GB/s", (x[0], limits["copy"] * x[0]), xytext=(0, -6),
                  textcoords="offset points", va="top", fontsize=9)
    for place, name in enumerate(names):
        aside = 1.05 ** (place - (len(names) - 1) / 2)  # all contestants of a shape have the same x: side by side
        own = [entry for entry in entries if entry["contestant"] == name]
        axes.plot([aside * entry["flops"] / entry["bytes"] for entry in own], [entry["rate"] for entry in own],
                  MARKERS[place % 8], color=COLORS[place % 8], label=label(name), markersize=6,
                  markeredgecolor="white", markeredgewidth=0.5, linestyle="none")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("arithmetic intensity: FLOP per byte that must be moved at least")
    axes.set_ylabel("GFLOP/s")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    legend(figure)
    axes.set_title(f"Roofline: convolution passes and dense layers\n({machine(summary)})", loc="left", fontsize=11)
    return figure


def legend(figure):
    """Who is who, below the picture, in columns of so many names as its width has room for."""
    figure.legend(ncols=int(figure.get_figwidth() // 2.3), loc="outside lower center", frameon=False)


def label(name):
    """A contestant's name for the legend."""
    return LABELS.get(name, f"MiniCNN {name}")


def machine(summary):
    """The machine in words."""
    return f"{summary['machine']['processor']}, {summary['options']['threads']} threads"
