"""minicnn bench: protocol, statistics, agreement, a small real run, warnings, goals, bad options."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import statistics as standard
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import cli, zoo
from minicnn.bench import (
    agreement,
    busy,
    contestants,
    goals,
    instructions,
    machine,
    measure,
    plots,
    process,
    report,
    works,
)
from minicnn.bench import statistics as stats
from minicnn.bench.contestants import base, ladder
from minicnn.bench.contestants import minicnn as own
from minicnn.bench.worker import Server
from minicnn.cli import bench as command

POSITIVE = st.floats(1e-3, 1e3)


def small(section="training", name="mnist_cnn", batch=4):
    (work,) = works.networks(section, [name], [batch])
    return work


def convolution(name):
    return next(work for work in works.convolutions() if work.name == name)


SMALL_CONVOLUTION = "mnist_cnn 3: 5x5x64->64 forward"


@pytest.mark.parametrize("name", ["cuda", "cuda ladder: vector loads", *contestants.GPU_PEERS])
def test_the_gpu_is_seen_by_those_who_compute_on_it(name):
    assert "CUDA_VISIBLE_DEVICES" not in process.worker_environment(name, 2)


@pytest.mark.parametrize("name", ["cpu", "im2col", "cpu ladder: units", "machine", *contestants.PEERS])
def test_the_gpu_is_hidden_from_all_others(name):
    assert process.worker_environment(name, 2)["CUDA_VISIBLE_DEVICES"] == ""


# ---- instructions --------------------------------------------------------------------------------------------------

needs_avx2 = pytest.mark.skipif(not instructions.llvm.get_host_cpu_features().get("avx2"), reason="no AVX2 here")


@needs_avx2
@pytest.mark.parametrize("isa", instructions.CHOICES)
def test_workers_are_held_to_instructions(isa):
    from kernels.cpu import simd
    with measure.Bench(options(isa=isa)).worker("cpu") as worker:
        vectors = worker.ask("open")["versions"]["vectors"]
    assert vectors == ("256 bits" if isa == "avx2" else f"{simd.BITS} bits")


def test_nobody_is_held_to_anything_by_default():
    assert options().isa == "native" and instructions.environment("native") == {}


def test_what_the_user_tells_xla_is_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=there")
    assert instructions.environment("avx2")["XLA_FLAGS"] == "--xla_dump_to=there --xla_cpu_max_isa=AVX2"


def test_a_processor_without_avx2_cannot_be_held_to_it(monkeypatch):
    monkeypatch.setattr(instructions.llvm, "get_host_cpu_features", lambda: {"avx": True, "avx2": False, "fma": True})
    instructions.check("native")
    with pytest.raises(ValueError, match="this processor has no such instructions"):
        instructions.check("avx2")


# ---- statistics ----------------------------------------------------------------------------------------------------


def test_geometric_mean_of_known_numbers():
    assert stats.geometric_mean([1, 4]) == pytest.approx(2)
    assert stats.geometric_mean(iter([2, 2, 2])) == pytest.approx(2)
    assert stats.geometric_mean([]) is None
    with pytest.raises(ValueError, match="positive"):
        stats.geometric_mean([1, 0])


@settings(deadline=None)
@given(st.lists(POSITIVE, min_size=1, max_size=8), POSITIVE)
def test_geometric_mean_scales_and_lies_between(values, factor):
    mean = stats.geometric_mean(values)
    assert min(values) * (1 - 1e-9) <= mean <= max(values) * (1 + 1e-9)
    assert stats.geometric_mean([factor * value for value in values]) == pytest.approx(factor * mean)
    assert stats.geometric_mean([1 / value for value in values]) == pytest.approx(1 / mean)


@settings(deadline=None)
@given(st.lists(POSITIVE, min_size=1, max_size=9))
def test_quantiles_are_numpys(values):
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert stats.quantile(sorted(values), share) == pytest.approx(np.quantile(values, share))


def test_spread_ignores_one_outlier_of_five_but_not_two():
    assert stats.spread([1, 1, 1, 1, 50]) == 0
    assert stats.spread([1, 1, 1, 1.5, 1.5]) == pytest.approx(0.5)
    assert stats.spread([1, 2]) == 0


@settings(deadline=None)
@given(st.lists(POSITIVE, min_size=1, max_size=7), st.floats(0.1, 10))
def test_paired_ratio_is_not_moved_by_what_slows_both(slowdowns, ratio):
    assert stats.paired_ratio([ratio * s for s in slowdowns], slowdowns) == pytest.approx(ratio)


# ---- the amount of work --------------------------------------------------------------------------------------------


def test_arithmetic_is_the_layers_own():
    for network in ("mnist_cnn", "cifar_cnn"):
        model = getattr(zoo, network)(backend="im2col")
        model.build()
        layers = [layer.multiply_adds() for layer in model.layers if layer.kind == "Conv2D"]
        forward = [work for work in works.convolutions() if work.name.startswith(network) and work.job.endswith("ward")]
        assert [work.flops for work in forward] == [2 * works.OPERATION_BATCH * count for count in layers]
        assert works.NETWORKS[network].parameters == model.count_params()


def test_every_convolution_has_three_passes_and_every_work_its_own_name():
    all_works = works.convolutions() + works.operations()
    assert len({work.name for work in all_works}) == len(all_works)
    assert len(works.convolutions()) == 3 * len(works.CONVOLUTIONS)
    assert convolution("large 1: 56x56x64->64 dw").flops == 2 * 8 * 56 * 56 * 64 * 9 * 64
    assert convolution(SMALL_CONVOLUTION).bytes == 4 * (32 * 25 * 64 + 9 * 64 * 64 + 64 + 32 * 9 * 64)


def test_arrays_are_the_same_each_time_and_fit():
    work = small()
    first, second = works.make_arrays(work), works.make_arrays(work)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert {name: array.shape for name, array in first.items()} == work.shapes
    assert first["images"].dtype == np.float32 and first["labels"].dtype == np.int64
    assert json.loads(json.dumps(work.as_dict()))["job"] == "mnist_cnn"


@pytest.mark.parametrize("name, batch, batches", [("mnist_cnn", 32, 64), ("cifar_cnn", 512, 4), ("mnist_cnn", 4096, 4)])
def test_networks_see_digits_in_batches_enough(name, batch, batches):
    work = small(name=name, batch=batch)
    assert work.shapes["images"][:2] == work.shapes["labels"] == (batches, batch)


def test_digits_in_one_channel_are_white_on_black_with_a_border():
    found = works.digits((2, 900, 28, 28, 1), np.random.default_rng(0))
    images = found["images"].reshape(1800, 28, 28)
    assert images.min() == 0 and images.max() == 1 and 0.4 < (images == 0).mean() < 0.8
    assert not images[:, [0, 3, 24, 27]].any() and not images[:, :, [0, 3, 24, 27]].any()
    # between the ends of the enlargement stand the digits themselves; the set has 1,797, so three come twice
    assert set(np.unique(16 * images[:, [4, 4, 23, 23], [4, 23, 4, 23]])) <= set(range(17))
    assert len({image.tobytes() for image in images}) == len({image.tobytes() for image in images[:1797]})
    (x, y), (more_x, more_y) = works.load_data()
    labels = dict(zip((image.tobytes() for image in np.concatenate([x, more_x])), np.concatenate([y, more_y])))
    back = np.linalg.pinv(works.enlargement(20))
    seen = np.rint(16 * back @ images[:, 4:24, 4:24] @ back.T).astype(np.uint8)
    assert [labels[image.tobytes()] for image in seen] == found["labels"].ravel().tolist()


def test_digits_in_more_channels_have_two_colours():
    images = works.digits((1, 50, 24, 24, 3), np.random.default_rng(0))["images"][0]
    assert images.shape == (50, 24, 24, 3) and images.min() >= 0 and images.max() <= 1
    for image in images:  # every colour lies between two: the pixels are on a line
        spread = np.linalg.svd((image - image.mean((0, 1))).reshape(-1, 3), compute_uv=False)
        assert spread[1] < 1e-3 * spread[0]


@pytest.mark.parametrize("size", [1, 8, 20, 28])
def test_an_enlargement_keeps_what_is_even_and_the_ends(size):
    matrix = works.enlargement(size)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((matrix @ np.arange(8))[[0, -1]], [0, 7 if size > 1 else 0], atol=1e-5)
    if size == 8:
        np.testing.assert_array_equal(matrix, np.eye(8))


@pytest.mark.parametrize("work", works.operations(), ids=lambda work: work.name)
def test_every_operation_runs_and_agrees_with_the_judge(work):
    arrays = works.make_arrays(work)
    right = agreement.judge(work, arrays)
    job = own.Contestant(threads=1, backend="im2col").operation(work.job, arrays, work.options)
    found = job.result()
    assert found and agreement.deviation(work, right, found) <= 1
    assert math.isfinite(job.seconds(1))


# ---- agreement -----------------------------------------------------------------------------------------------------


def training_losses(change=lambda weights: weights, network="mnist_cnn", learning_rate=None, momentum=None):
    work = small(name=network)
    arrays = works.make_arrays(work)
    weights = getattr(zoo, network)(backend="im2col", **works.NETWORKS[network].arguments).get_weights()
    right = agreement.judge(work, arrays, weights)
    contestant = own.Contestant(threads=1, backend="im2col")
    build = contestant.model

    def model(*arguments):
        made = build(*arguments)
        if learning_rate:
            made.optimizer.learning_rate *= learning_rate
        if momentum is not None:
            made.optimizer.momentum = momentum
        return made

    contestant.model = model
    found = contestant.training(network, change([w.copy() for w in weights]), arrays["images"], arrays["labels"])
    return agreement.deviation(work, right, found.result())


def flattened_in_another_order(weights):
    weights[6] = weights[6].reshape(3, 3, 64, 64).transpose(2, 0, 1, 3).reshape(576, 64)
    return weights


def one_kernel_flipped(weights):
    weights[0] = weights[0][::-1].copy()
    return weights


def test_the_same_training_agrees():
    assert training_losses() < 0.5
    assert training_losses(network="cifar_cnn") < 0.5


@pytest.mark.parametrize("mistake", [
    {"change": flattened_in_another_order}, {"change": one_kernel_flipped}, {"learning_rate": 1.05},
    {"learning_rate": 1e-6}, {"network": "cifar_cnn", "momentum": 0.0}, {"network": "cifar_cnn", "learning_rate": 0.9},
], ids=str)
def test_another_training_is_caught(mistake):
    assert training_losses(**mistake) > 1


def test_a_result_that_is_missing_or_nan_or_of_another_shape_is_no_agreement():
    work, right = convolution(SMALL_CONVOLUTION), {"y": np.ones((2, 3))}
    assert agreement.deviation(work, right, {"y": np.ones((2, 3), np.float32)}) == 0
    for found in ({}, {"y": np.ones((3, 2))}, {"y": np.full((2, 3), np.nan)}, {"y": np.full((2, 3), 1.001)}):
        assert agreement.deviation(work, right, found) > 1


# ---- jobs and the worker's protocol ---------------------------------------------------------------------------------


def test_a_difference_is_what_both_cost_less_the_other(monkeypatch):
    long, short = base.Job(lambda: time.sleep(0.06), dict), base.Job(lambda: time.sleep(0.01), dict)
    assert 0 < base.Difference(long, short, dict).seconds(4) < 4 * 0.06
    monkeypatch.setattr(base.Difference, "MOST_PAIRS", 8)
    with pytest.raises(base.Unsteady, match="too busy"):
        base.Difference(short, long, dict).seconds(4)


class Scripted:
    """Takes as long as it is told, without taking any time."""

    call = finish = None

    def __init__(self, *seconds):
        self.told, self.calls = iter(seconds), 0

    def seconds(self, calls):
        self.calls += calls
        return next(self.told)


def test_a_difference_takes_more_pairs_while_the_machine_hides_it():
    both = Scripted(5, 1, 1, 3, 3, 3)  # a quiet moment, then interruptions: the first three pairs seem to cost nothing
    other = Scripted(2, 2, 2, 2, 2, 2)
    assert base.Difference(both, other, dict).seconds(2) == pytest.approx(2 * (3 - 2))
    assert (both.calls, other.calls) == (6, 6)


def test_calls_take_the_batches_in_turn():
    seen = []
    call = base.cycle(seen.append, [(1,), (2,), (3,)])
    for _ in range(7):
        call()
    assert seen == [1, 2, 3, 1, 2, 3, 1]


def test_the_server_answers_every_request_with_an_object(tmp_path):
    work = convolution(SMALL_CONVOLUTION)
    np.savez(tmp_path / "arrays.npz", **works.make_arrays(work))
    server = Server("im2col", 1)
    assert "MiniCNN" in server.answer({"command": "open"})["versions"]
    assert "unknown command 'fly'" in server.answer({"command": "fly"})["error"]
    assert server.answer({"command": "run"})["kind"] == "TypeError"
    assert server.answer({"command": "prepare", "work": work.as_dict(), "arrays": str(tmp_path / "arrays.npz")}) == {}
    assert server.answer({"command": "result", "path": str(tmp_path / "result.npz")}) == {}
    assert np.load(tmp_path / "result.npz")["y"].shape == (32, 3, 3, 64)
    answer = server.answer({"command": "run", "calls": 2})
    assert answer["seconds"] > 0 and answer["cpu_seconds"] >= 0
    assert server.answer({"command": "memory"})["peak_bytes"] > 10 * 2**20
    machine_server = Server("machine", 1)
    machine_server.answer({"command": "open"})
    request = {"command": "prepare", "work": work.as_dict(), "arrays": str(tmp_path / "arrays.npz")}
    assert machine_server.answer(request) == {"unsupported": True}


NOISY = """
import os, numpy as np
from kernels.im2col import conv2d_forward as good
print("a library that talks on standard output")
def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    os.write(1, b"and one that does not use Python's print\\n")
    return good(x, w, b, stride, padding)
"""
WRONG = NOISY + """
def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    return good(x, w, None, stride, padding)
"""
DYING = NOISY + """
def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    os.write(2, b"out of luck\\n")
    os._exit(3)
"""
RAISING = NOISY + """
def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    raise ZeroDivisionError("no")
"""


@pytest.fixture
def homework(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)
    return write


def test_a_real_worker_is_stopped_between_questions_and_ends_when_told(homework):
    with process.Worker(homework("noisy.py", NOISY), 1) as worker:
        assert worker.ask("open")["versions"]["back-end"] == "homework_noisy+im2col"
        if Path("/proc/self/stat").exists():
            deadline = time.time() + 10
            while state_of(worker) != "T" and time.time() < deadline:
                time.sleep(0.01)
            assert state_of(worker) == "T"
        assert worker.ask("memory")["peak_bytes"] > 0
        with pytest.raises(process.WorkerError, match="unknown command 'fly'"):
            worker.ask("fly")
    assert worker.process.returncode == 0


def state_of(worker):
    return Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_that_is_too_slow_or_gone_is_reported():
    worker = process.Worker("im2col", 1)
    with worker, pytest.raises(process.WorkerError, match="no answer to 'open' within 0"):
        worker.ask("open", timeout=0)
    with pytest.raises(process.WorkerError, match="was closed, with status -9"):
        worker.ask("open")


# ---- a small real run -----------------------------------------------------------------------------------------------


def options(**changes):
    given = {"backends": ["im2col"], "peers": [], "threads": 1, "sections": ("ops",), "batches": (4,), "repeats": 3,
             "seconds": 0.01, "match": SMALL_CONVOLUTION, "networks": ("mnist_cnn",)}
    return measure.Options(**{**given, **changes})


def test_only_who_computes_the_same_is_timed(homework):
    names = [homework(f"{name}.py", text) for name, text in
             {"wrong": WRONG, "noisy": NOISY, "dying": DYING, "raising": RAISING}.items()]
    results = measure.Bench(options(backends=["im2col", *names])).run()
    messages = {Path(failure["contestant"]).name: failure["message"] for failure in results.failures}
    assert "computed something else" in messages["wrong.py"]
    assert "status 3" in messages["dying.py"] and "out of luck" in messages["dying.py"]
    assert "ZeroDivisionError: no" in messages["raising.py"]
    timed = {entry["contestant"] for entry in results.timings if entry["section"] == "convolutions"}
    assert timed == {"im2col", names[1], contestants.MACHINE}
    assert set(messages) == {"wrong.py", "dying.py", "raising.py"}


@pytest.fixture(scope="module")
def summary():
    """One run with PyTorch, where it is installed; and one from the start of the processes, with MiniCNN alone."""
    peers = [name for name in ("pytorch-cl",) if not contestants.missing_packages(name)]
    chosen = options(peers=peers, sections=("ops", "training", "inference", "scaling"), match="mnist_cnn", repeats=2,
                     few=True)
    results = measure.Bench(chosen).run()
    processes = measure.Bench(options(sections=("start", "memory"), repeats=1, cold=False)).run()
    results.starts, results.memory = processes.starts, processes.memory
    results.failures += processes.failures
    return report.summarize(results, chosen)


def test_the_record_has_its_form(summary):
    again = json.loads(json.dumps(summary))
    assert again["format"] == report.FORMAT
    assert set(again) == {
        "format", "minicnn", "date", "machine", "options", "contestants", "leader", "timings", "ratios",
        "convolution_means", "scaling", "starts", "memory", "failures", "load", "foreign_cpus", "seconds", "goals",
        "warnings"}
    assert again["failures"] == []
    for entry in again["timings"]:
        assert {"section", "work", "job", "contestant", "seconds", "cpu_seconds", "calls", "deviation", "flops",
                "bytes", "images", "tags", "median", "spread", "rate", "unit"} <= set(entry)
        assert len(entry["seconds"]) == 2 and entry["deviation"] <= 1
        assert entry["median"] == standard.median(entry["seconds"])
    names = {"im2col", *again["options"]["peers"]}
    for section in ("convolutions", "training", "inference"):
        works_of = report.by_work(again["timings"], section)
        assert works_of and all(set(entries) == names for entries in works_of.values())
    (start,) = again["starts"]
    assert (start["kind"], start["contestant"]) == ("warm", "im2col") and start["median"] > 0.05
    (memory,) = again["memory"]
    assert memory["peak_bytes"] > 20 * 2**20
    (work, found), = again["scaling"].items()
    assert work == "mnist_cnn batch 4" and set(found) == {"im2col", "machine"}  # the latter at sgemm
    pairs = {entry["contestant"]: entry for entry in again["timings"] if entry["section"] == "scaling"}
    for name, ratio in found.items():
        assert ratio == pytest.approx(stats.paired_ratio(pairs[f"{name}, 1 thread"]["seconds"], pairs[name]["seconds"]))
    assert pairs["machine"]["job"] == pairs["machine, 1 thread"]["job"] == "sgemm"
    (table,) = report.scaling_table(summary)
    assert all(f"{ratio:.2f}x" in line for line, ratio in zip(table.splitlines()[-3:-1], found.values(), strict=True))
    assert "sgemm, in the same rounds" in table


def test_ladder_is_measured_rung_by_rung():
    backends = ["cpu", "im2col"]  # the latter has none
    assert ladder.names(["im2col"]) == []
    chosen = options(backends=backends, sections=("ladder",), match="", repeats=2)
    results = measure.Bench(chosen).run()
    summary = report.summarize(results, chosen)
    assert summary["failures"] == []
    entries = report.by_work(summary["timings"], "ladder")["cpu ladder: 32 images 13x13x32->64"]
    assert list(entries) == ladder.names(["cpu"]) and len(entries) == 7
    assert all(entry["deviation"] <= 1 for entry in entries.values())
    (table,) = report.ladder_tables(summary)
    rows = [line.split("  ")[0] for line in table.splitlines()[4:-1]]
    assert rows == [name.partition(contestants.LADDER)[2] for name in entries]


def test_figures_fit_together(summary):
    forward = {entry["contestant"]: entry for entry in summary["timings"] if entry["work"].startswith("mnist_cnn 2")
               and entry["work"].endswith("forward")}
    mine, roof = forward["im2col"], forward[contestants.MACHINE]
    assert mine["rate"] == pytest.approx(mine["flops"] / mine["median"] / 1e9)
    assert mine["share"] == pytest.approx(np.median(np.array(roof["seconds"]) / mine["seconds"])
                                          * mine["flops"] / roof["flops"])
    assert summary["convolution_means"]["im2col"]["speed_ratio"] == pytest.approx(1)
    assert summary["convolution_means"]["im2col"]["passes"] == 3


def test_the_heading_says_what_everybody_is_held_to(summary):
    assert "1 threads for everybody;" in report.heading(summary)
    held = report.heading({**summary, "options": {**summary["options"], "isa": "avx2"}})
    assert "1 threads and AVX2 instructions at most for everybody;" in held


def test_tables_name_everybody(summary):
    text = report.text(summary)
    for words in ("Convolution passes", "geometric mean", "Training: images per second", "Inference", "Peak resident",
                  "warm start", "mnist_cnn batch 4", *summary["options"]["peers"]):
        assert words in text
    assert max(map(len, text.split("\n\n")[1].splitlines())) < 120


def test_pictures_are_written(summary, tmp_path):
    written = plots.write(summary, tmp_path)
    assert [path.name for path in written] == ["bench-training.png", "bench-roofline.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert plots.write({**summary, "timings": []}, tmp_path) == []


def test_the_names_of_all_contestants_fit_below_few_bars():
    from matplotlib import pyplot
    names = ["cpu", "im2col", *contestants.PEERS]
    few = {"timings": [{"section": "training", "work": "mnist_cnn batch 32", "contestant": name, "rate": 1e4}
                       for name in names], "machine": {"processor": "a processor"}, "options": {"threads": 2}}
    figure = plots.training(few, pyplot)
    figure.canvas.draw()
    legend, = figure.legends
    inside = legend.get_window_extent()
    assert len(legend.get_texts()) == len(names)
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= figure.bbox.width
    assert figure.axes[0].get_window_extent().width > 0.7 * figure.bbox.width
    pyplot.close(figure)


class Rehearsed(measure.Bench):
    """A run whose contestants take the times that they are told to."""

    def __init__(self, seconds, **changes):
        super().__init__(options(**changes))
        self.seconds, self.order = seconds, []

    def prepare(self, work, names):
        return {name: {"deviation": 0.0} for name in self.seconds}

    def calls_for(self, name, work, seconds):
        return 1

    def roofs(self, work):
        return []

    def time_once(self, name, record):
        self.order.append(name)
        record["seconds"].append(self.seconds[name][len(record["seconds"]) % len(self.seconds[name])])


STEADY, UNSTEADY, AT_FIRST = [1.0, 1.01, 1.02], [1.0, 1.5, 2.0], [1.0, 1.3, 1.0, 1.3, *[1.0] * 11]


@pytest.mark.parametrize("section, seconds, few, rounds", [
    ("training", {"a": STEADY, "b": STEADY}, False, 5), ("training", {"a": STEADY, "b": UNSTEADY}, False, 15),
    ("training", {"a": AT_FIRST}, False, 8), ("scaling", {"a": UNSTEADY}, False, 15),
    ("inference", {"a": UNSTEADY}, False, 5), ("training", {"a": UNSTEADY}, True, 5)])
def test_unsteady_training_gets_more_rounds(section, seconds, few, rounds):
    bench = Rehearsed(seconds, repeats=5, few=few)
    (work,) = works.networks(section, ["mnist_cnn"], [4])
    bench.measure(work)
    assert [len(entry["seconds"]) for entry in bench.results.timings] == [rounds] * len(seconds)
    names = list(seconds)
    assert bench.order == [name for turn in range(rounds) for name in measure.rotated(names, turn)]


def test_the_heading_says_how_many_rounds_there_were(summary):
    assert "Medians of 2 rounds" in report.heading(summary)
    timings = [{**entry, "seconds": [1.0] * rounds} for entry, rounds in zip(summary["timings"], [3, 9, 4])]
    assert "Medians of 3 to 9 rounds" in report.heading({**summary, "timings": timings})


def test_turns_rotate():
    assert [measure.rotated(["a", "b", "c"], turn) for turn in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert measure.rotated([], 3) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras", "jax", "cpu"])
def test_the_others_agree_too(name):
    if name == "cpu":
        backends, peers = ["cpu"], []
    elif contestants.missing_packages(name):
        pytest.skip(f"{name} is not installed")
    else:
        backends, peers = ["im2col"], [name]
    chosen = options(backends=backends, peers=peers, sections=("ops", "training", "inference"), match="", repeats=1,
                     networks=("mnist_cnn", "cifar_cnn"), seconds=0.001)
    results = measure.Bench(chosen).run()
    assert results.failures == []
    assert sum(entry["contestant"] == name for entry in results.timings) >= 4


# ---- warnings and goals ---------------------------------------------------------------------------------------------


def quiet(**changes):
    sgemm = {"section": "machine", "work": "sgemm 1024", "contestant": contestants.MACHINE, "job": "sgemm",
             "seconds": [1.0, 1.0], "cpu_seconds": [1.98, 1.97], "spread": 0.01}
    return {"load": 0.1, "foreign_cpus": 0.01, "options": {"threads": 2}, "timings": [sgemm], **changes}


def test_a_quiet_machine_gives_no_warning():
    assert busy.warnings(quiet()) == []
    assert busy.warnings(quiet(load=None, foreign_cpus=None)) == []


@pytest.mark.parametrize("changes, words", [
    ({"load": 3.0}, "load average 3.0"),
    ({"foreign_cpus": 0.5}, "others used 0.50 CPUs"),
    ({"timings": [{**quiet()["timings"][0], "cpu_seconds": [1.2, 1.1]}]}, "60 % of the CPU time"),
    ({"timings": [{**quiet()["timings"][0], "spread": 0.4}]}, r"vary by more than 10 % .*sgemm 1024, machine \(40 %\)"),
])
def test_a_busy_machine_is_named(changes, words):
    (warning,) = busy.warnings(quiet(**changes))
    assert re.search(words, warning)


def test_foreign_time_is_what_neither_we_nor_the_workers_used(monkeypatch):
    times = iter([100.0, 130.0])
    monkeypatch.setattr(machine, "cpu_seconds_of_all", lambda: next(times))
    monkeypatch.setattr(machine, "own_cpu_seconds", lambda: 7.0)
    watch = machine.Watch()
    watch.started -= 10
    assert watch.foreign_cpus(workers_cpu_seconds=20.0) == pytest.approx(1.0, rel=0.01)


def goal_summary(**changes):
    given = {"ratios": {"training": {"mnist_cnn batch 32": {"pytorch": 3.5, "pytorch-cl": 1.3, "keras": 6.0}}},
             "timings": [], "convolution_means": {}, "scaling": {}, "starts": [], "memory": [],
             "options": {"threads": 2}}
    return {**given, **changes}


def test_goals_are_judged_only_on_what_was_measured():
    met = {entry["goal"]: entry["met"] for entry in goals.check(goal_summary())}
    assert met == {"training mnist_cnn batch 32: to PyTorch's better layout": False,
                   "training mnist_cnn batch 32: to PyTorch's default layout": True,
                   "training mnist_cnn batch 32: to Keras": True}
    assert goals.check(goal_summary(ratios={})) == []


def test_goals_for_convolutions_starts_and_memory():
    def entry(work, share, *tags):
        return {"section": "convolutions", "contestant": "cpu", "work": work, "share": share, "tags": tags}

    found = goals.check(goal_summary(
        ratios={}, timings=[entry("a", 0.9), entry("b", 0.5), entry("c", 0.2, "first layer")],
        convolution_means={"pytorch": {"speed_ratio": 1.4}, "pytorch-cl": {"speed_ratio": 1.2}},
        starts=[{"kind": "cold", "contestant": "cpu", "median": 31.0},
                {"kind": "warm", "contestant": "cpu", "median": 1.2}],
        memory=[{"work": "w", "contestant": name, "peak_bytes": size * 2**20}
                for name, size in {"cpu": 300, "pytorch": 350, "pytorch-cl": 310}.items()],
        scaling={"mnist_cnn batch 128": {"cpu": 1.8}}))
    values = [(round(entry["value"], 2), entry["met"]) for entry in found]
    assert values == [(round(100 * (0.9 * 0.5 * 0.2) ** (1 / 3), 2), False), (50.0, True), (20.0, False), (1.2, True),
                      (1.8, True), (1.2, True), (31.0, False), (300.0, True)]


# ---- who takes part, and bad options --------------------------------------------------------------------------------


def test_peers_are_those_that_are_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("jax", "tensorflow") else object())
    assert contestants.choose_peers("all") == ["pytorch", "pytorch-cl"]
    assert contestants.choose_peers("all", ["cuda"]) == ["pytorch-cuda", "pytorch-cuda-tf32"]
    assert contestants.choose_peers("all", ["cpu", "cuda"]) == [*contestants.GPU_PEERS, "pytorch", "pytorch-cl"]
    assert contestants.choose_peers(["pytorch-cuda"]) == ["pytorch-cuda"]
    assert contestants.choose_peers("none") == []
    with pytest.raises(ValueError, match="jax needs jax, not installed"):
        contestants.choose_peers(["jax"])
    with pytest.raises(ValueError, match="unknown name 'caffe'"):
        contestants.choose_peers(["caffe"])


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_options_are_understood():
    chosen = command.choose(arguments("--only", "ops,start", "--batch", "8,16", "--peers", "none",
                                      "--backends", "im2col", "--threads", "1"))
    assert (chosen.sections, chosen.batches, chosen.peers, chosen.threads) == (("ops", "start"), (8, 16), [], 1)
    chosen = command.choose(arguments("--quick", "--peers", "none"))
    assert chosen.batches == (32,) and not chosen.cold and chosen.few
    assert chosen.threads == len(machine.core_cpus() or range(os.cpu_count()))


@pytest.mark.parametrize("words, message", [
    (["--only", "speed"], "--only: unknown name 'speed'"),
    (["--networks", "alexnet"], "--networks: unknown name 'alexnet'"),
    (["--backends", "torch"], "backends: unknown name 'torch'"),
    (["--peers", "caffe", "--backends", "im2col"], "peers: unknown name 'caffe'"),
    (["--isa", "mmx"], "--isa: unknown name 'mmx'; choose from native, avx2"),
    (["--threads", "4096"], "--threads: this process may use"),
])
def test_unknown_names_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        command.choose(arguments(*words))


@pytest.mark.parametrize("words", [["--batch", "0"], ["--batch", "32,,64"], ["--repeats", "x"], ["--seconds", "-1"]])
def test_numbers_that_are_none_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        arguments(*words)
    assert "expected" in capsys.readouterr().err


def test_the_command_writes_its_files(tmp_path, capsys):
    words = ["bench", "--only", "training", "--batch", "2", "--networks", "mnist_cnn", "--backends", "im2col",
             "--peers", "none", "--repeats", "1", "--seconds", "0.001", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bench.json", "bench-training.png"}
    assert "Training: images per second" in capsys.readouterr().out


def test_out_must_be_a_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["bench", "--out", str(tmp_path / "file"), "--peers", "none"]) == 2
    assert "is not a folder" in capsys.readouterr().err
