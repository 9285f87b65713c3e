"""What MiniCNN's cpu back-end is to reach, and whether it did. Stated for 2 cores and AVX2 (``--isa avx2``).

Every goal compares with something measured in the same run: no figure depends on how fast the machine is.
"""

from __future__ import annotations

from minicnn.bench.statistics import geometric_mean

BACKEND = "cpu"
#: Training: work -> least ratio of images per second to PyTorch's better layout, PyTorch's default layout and Keras.
TRAINING = {
    "mnist_cnn batch 32": (1.4, 3.0, 5.0),
    "mnist_cnn batch 128": (1.3, 2.5, 2.5),
    "cifar_cnn batch 32": (1.3, None, 2.0),
    "cifar_cnn batch 128": (1.2, None, 2.0),
}
CONVOLUTION_SHARE = 0.75
SLOWEST_SHARE, SLOWEST_SHARE_FIRST_LAYER = 0.40, 0.25
CONVOLUTIONS_TO_PYTORCH = 1.1
SCALING = 1.7
WARM_START, COLD_START = 1.5, 30.0


def check(summary):
    """The goals for which this run has figures, as records ``{"goal", "value", "bar", "unit", "met"}``."""
    found = []

    def at_least(goal, value, bar, unit="x"):
        if value is not None and bar is not None:
            found.append({"goal": goal, "value": value, "bar": bar, "unit": unit, "met": value >= bar})

    def at_most(goal, value, bar, unit):
        if value is not None and bar is not None:
            found.append({"goal": goal, "value": value, "bar": bar, "unit": unit, "met": value <= bar})

    for work, bars in TRAINING.items():
        ratios = summary["ratios"].get("training", {}).get(work, {})
        layouts = [ratios[name] for name in ("pytorch", "pytorch-cl") if name in ratios]
        if len(layouts) == 2:
            at_least(f"training {work}: to PyTorch's better layout", min(layouts), bars[0])
        at_least(f"training {work}: to PyTorch's default layout", ratios.get("pytorch"), bars[1])
        at_least(f"training {work}: to Keras", ratios.get("keras"), bars[2])
    convolutions(summary, at_least)
    for work, ratio in summary["scaling"].items():
        if "batch 128" in work and summary["options"]["threads"] == 2:
            at_least(f"training {work}: two threads to one", ratio.get(BACKEND), SCALING)
    starts = {entry["kind"]: entry["median"] for entry in summary["starts"] if entry["contestant"] == BACKEND}
    at_most("warm start to the end of the first training step", starts.get("warm"), WARM_START, "s")
    at_most("cold start to the end of the first training step", starts.get("cold"), COLD_START, "s")
    for work in sorted({entry["work"] for entry in summary["memory"]}):
        peaks = {entry["contestant"]: entry["peak_bytes"] for entry in summary["memory"] if entry["work"] == work}
        others = [peaks[name] / 2**20 for name in ("pytorch", "pytorch-cl") if peaks.get(name)]
        if peaks.get(BACKEND) and others:
            at_most(f"peak memory of training {work}: at most PyTorch's", peaks[BACKEND] / 2**20, min(others), "MiB")
    return found


def convolutions(summary, at_least):
    """The goals for the convolution passes."""
    own = [entry for entry in summary["timings"]
           if entry["section"] == "convolutions" and entry["contestant"] == BACKEND and "share" in entry]
    if not own:
        return
    at_least(f"convolutions: geometric mean of the share of sgemm, {len(own)} passes",
             100 * geometric_mean(entry["share"] for entry in own), 100 * CONVOLUTION_SHARE, "%")
    for title, first, bar in (("other", False, SLOWEST_SHARE), ("first", True, SLOWEST_SHARE_FIRST_LAYER)):
        group = [entry for entry in own if ("first layer" in entry["tags"]) == first]
        if group:
            slowest = min(group, key=lambda entry: entry["share"])
            at_least(f"convolutions, {title} layers: slowest pass ({slowest['work']})", 100 * slowest["share"],
                     100 * bar, "%")
    means = summary["convolution_means"]
    layouts = [means[name]["speed_ratio"] for name in ("pytorch", "pytorch-cl") if name in means]
    if layouts:
        at_least("convolutions: geometric mean of the speed to PyTorch's better layout", min(layouts),
                 CONVOLUTIONS_TO_PYTORCH)
