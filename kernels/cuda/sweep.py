"""Time every tile and split of the products on a GPU: what ``tiles.SPEED`` and its two neighbours are fitted to.

    python -m kernels.cuda.sweep [--out sweep.json]

For the forward pass, dx and dw of several convolutions, each tile is tried whole and with its sums split for devices of
several sizes. A line tells the fastest and what ``tiles.plan`` chooses; the last one, how much longer the choices take
in the geometric mean. One minute, most of it compilation.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from . import tiles
from .measure import CONVOLUTIONS, passes, seconds_per_call

#: Of ``measure.CONVOLUTIONS``: which, and with how many images.
CASES = [(name, images) for name in ("document 2, first", "document 2, second", "document 2, third",
                                     "document 1, second") for images in (32, 512)]
CASES += [("28x28, 128 to 128", 32), ("56x56, 64 to 64", 32)]

#: Numbers of blocks that a sum is split for; 1 leaves it whole.
BLOCKS = (1, 64, 132, 256, 384, 512, 1024)


def calls(image, outputs, padding, images):
    """The passes of a convolution on random numbers, by name; without dx for a first layer, where nobody needs it."""
    from kernels import cuda
    height, width, channels = image
    pads, out = ((padding, padding),) * 2, (height + 2 * padding - 2, width + 2 * padding - 2)
    rng = np.random.default_rng(0)
    x, w, dy = (cuda.asarray(rng.normal(size=shape).astype(np.float32)) for shape in
                ((images, *image), (3, 3, channels, outputs), (images, *out, outputs)))
    return {name: call for name, call in passes(x, w, dy, pads).items() if name != "dx" or channels > 3}


def times(call, wait):
    """Seconds of ``call`` by the plan that it is forced to take, and the plan that it takes by itself."""
    with mock.patch.object(tiles, "plan", wraps=tiles.plan) as seen:
        call()
    shape, options = seen.call_args.args, seen.call_args.kwargs
    own, found = tiles.plan(*shape, **options), {}
    plans = {tiles.split(*shape[:3], tile, blocks) for tile in tiles.SPEED for blocks in BLOCKS
             if not options.get("narrow") or tile.threads >= tile.BM}
    for plan in sorted({*plans, own}):
        with mock.patch.object(tiles, "plan", lambda *_, plan=plan, **__: plan):
            found[plan] = seconds_per_call(call, wait, 0.008, 3)
    return found, own


def main(arguments=None):
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file for all times (JSON)")
    chosen = parser.parse_args(arguments)
    from kernels import cuda
    rows, ratios = [], []
    for name, images in CASES:
        for kind, call in calls(*CONVOLUTIONS[name][:3], images).items():
            found, own = times(call, cuda.synchronize)
            best = min(found, key=found.get)
            ratios.append(found[own] / found[best])
            print(f"{name}, batch {images}, {kind}: best {describe(best)} {1e6 * found[best]:.0f} us; "
                  f"chosen {describe(own)} {1e6 * found[own]:.0f} us", flush=True)
            rows += [{"shape": name, "images": images, "pass": kind, "tile": list(plan.tile), "splits": plan.splits,
                      "seconds": seconds} for plan, seconds in found.items()]
    print(f"the choices take {math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f} times the best")
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=1))


def describe(plan):
    """A plan in a few characters."""
    return f"{plan.tile.BM}x{plan.tile.BN}" + (f" in {plan.splits} parts" if plan.splits > 1 else "")


if __name__ == "__main__":
    sys.exit(main())
