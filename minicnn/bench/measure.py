"""The measurement: rounds in which the contestants take turns.

Speed changes while one measures: processors warm up, a neighbour starts to work. Measured one contestant after the
other, that change would be taken for a difference between them. So every work is measured in *rounds*, A B C, B C A,
C A B, ...; a figure is the median over the rounds, a ratio is the median of the ratios formed within each round.
On a machine that others use as well, rounds differ by a third, and so do medians of a few of them from run to run; so
training, where ratios of two whole programs count, gets more rounds there.
Only one contestant computes at a time; the processes of the others are stopped.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minicnn.bench import agreement, busy, contestants, instructions, machine, works
from minicnn.bench.contestants import ladder
from minicnn.bench.process import Unsupported, Worker, WorkerError
from minicnn.bench.statistics import spread

#: An operation is short: its turn is this share of a network's.
OPERATION_SHARE = 0.2

#: Training gets more rounds while a figure is unsteady (``busy.SPREAD``), up to so many times as many.
PATIENCE = 3

#: Training steps after which memory is read.
MEMORY_STEPS = 8


@dataclass
class Options:
    """What to measure, and how often; see ``minicnn bench --help``."""

    backends: list
    peers: list
    threads: int
    sections: tuple
    networks: tuple = tuple(works.NETWORKS)
    batches: tuple = (32, 128, 512)
    repeats: int = 5
    seconds: float = 0.5
    cold: bool = True
    match: str = ""
    few: bool = False
    isa: str = "native"


@dataclass
class Results:
    """All that was measured, as JSON can hold it: lists of records."""

    contestants: dict = field(default_factory=dict)
    timings: list = field(default_factory=list)
    starts: list = field(default_factory=list)
    memory: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    foreign_cpus: float | None = None
    load: float | None = None
    seconds: float = 0.0

    def add_failure(self, contestant, work, message):
        """Something that went wrong; the rest of the run goes on."""
        self.failures.append({"contestant": contestant, "work": work, "message": message})


class Bench:
    """One run.

    Parameters
    ----------
    options : Options
    progress : function (str), optional
        Told what is being done.
    """

    def __init__(self, options, progress=None):
        self.options, self.progress = options, progress or (lambda text: None)
        self.results = Results()
        self.workers = {}
        self.cpus = machine.core_cpus()
        # Pinned only where threads are fewer than CPUs: libraries that take what they find are then bounded too.
        pinned = self.cpus is not None and options.threads < machine.usable_cpus()
        self.cpus = self.cpus[:options.threads] if pinned else None

    def run(self):
        """Measure all sections and return the ``Results``."""
        watch, started = machine.Watch(), time.perf_counter()
        self.folder = Path(tempfile.mkdtemp(prefix="minicnn-bench-"))
        self.weights = {}
        own = 0.0
        try:
            if set(self.options.sections) & {"ops", "ladder", "training", "inference", "scaling"}:
                chosen = self.chosen_works()
                self.open_workers(chosen)
                for work in chosen:
                    self.measure(work)
                own = sum(machine.cpu_seconds_of(worker.process.pid) for worker in self.workers.values())
            self.results.foreign_cpus = watch.foreign_cpus(own)
            self.close_workers()
            if "start" in self.options.sections:
                self.measure_starts()
            if "memory" in self.options.sections:
                self.measure_memory()
        finally:
            self.close_workers()
            shutil.rmtree(self.folder, ignore_errors=True)
        self.results.load = watch.load
        self.results.seconds = time.perf_counter() - started
        return self.results

    @property
    def names(self):
        """The contestants, in the order of the tables."""
        return [*self.options.backends, *self.options.peers]

    @property
    def single_threaded(self):
        """The back-ends and the machine, taking part a second time with one thread: ``{"cpu, 1 thread": "cpu"}``."""
        wanted = [*self.options.backends, contestants.MACHINE] if "scaling" in self.options.sections else []
        return {f"{name}, 1 thread": name for name in wanted}

    @property
    def process_names(self):
        """The contestants whose starts and memory are measured; in a short run one peer, for starting takes long."""
        return [*self.options.backends, *(self.options.peers[:1] if self.options.few else self.options.peers)]

    @property
    def middle_batch(self):
        """The batch size at which scaling and memory are measured: 128, or the nearest below it."""
        return max((batch for batch in self.options.batches if batch <= 128), default=min(self.options.batches))

    def worker(self, name, environment=None):
        """A new worker."""
        environment = {**instructions.environment(self.options.isa), **(environment or {})}
        if name in self.single_threaded:
            cpus = self.cpus or machine.core_cpus()
            return Worker(self.single_threaded[name], 1, cpus and cpus[:1], environment)
        return Worker(name, self.options.threads, self.cpus, environment)

    def participants(self, work):
        """Names of the contestants that do this work."""
        if work.section == "machine":
            return [contestants.MACHINE]
        if work.section == "scaling":
            return [name for backend in self.options.backends for name in (backend, f"{backend}, 1 thread")]
        return ladder.names(work.tags) if work.section == "ladder" else self.names

    def roofs(self, work):
        """The machine's processes, whose sgemm takes turns with the participants: what could be had at that time."""
        both = [contestants.MACHINE, f"{contestants.MACHINE}, 1 thread"]
        return {"convolutions": both[:1], "scaling": both}.get(work.section, [])

    def open_workers(self, chosen):
        """Start the processes of all who do one of these works; they stay until every work is done."""
        for name in dict.fromkeys(name for work in chosen for name in [*self.participants(work), *self.roofs(work)]):
            self.progress(f"starting {name}")
            worker = self.workers[name] = self.worker(name)
            try:
                self.results.contestants[name] = worker.ask("open")["versions"]
            except WorkerError as error:
                self.results.add_failure(name, "start", str(error))
                self.workers.pop(name).close()

    def fail(self, name, work, error):
        """Go on without this contestant's figure; and without the contestant, if its process has ended."""
        self.results.add_failure(name, work, str(error))
        if self.workers[name].process.poll() is not None:
            self.workers.pop(name).close()

    def close_workers(self):
        """End all processes."""
        for worker in self.workers.values():
            worker.close()
        self.workers = {}

    def chosen_works(self):
        """The works of the chosen sections whose name contains ``match``."""
        options, chosen = self.options, []
        chosen += works.machine().values()
        if "ops" in options.sections:
            chosen += works.convolutions() if not options.few else [
                work for work in works.convolutions() if work.name.startswith(("mnist_cnn 2", "large 2"))]
            chosen += works.operations() if not options.few else []
        if "ladder" in options.sections:
            chosen += [works.ladder(name) for name in options.backends if ladder.names([name])]
        for section in ("training", "inference"):
            if section in options.sections:
                chosen += works.networks(section, options.networks, options.batches)
        if "scaling" in options.sections:
            chosen += works.networks("scaling", options.networks, [self.middle_batch])
        return [work for work in chosen if work.section == "machine" or options.match in work.name]

    # ---- one work ----------------------------------------------------------------------------------------------

    def measure(self, work):
        """Prepare one work everywhere, compare the results, and time it in rounds, and the machine's sgemm with it."""
        self.progress(f"{work.section}: {work.name}")
        ready = self.prepare(work, self.participants(work))
        turns = [(name, work) for name in ready]
        records = {name: {"section": work.section, "work": work.name, "job": work.job, "contestant": name,
                          "seconds": [], "cpu_seconds": [], **ready[name]} for name in ready}
        sgemm, roofs = works.machine()["sgemm"], self.roofs(work)
        for name in self.prepare(sgemm, roofs) if roofs else ():
            turns.append((name, sgemm))
            records[name] = {"section": work.section, "work": work.name, "job": sgemm.job, "contestant": name,
                             "seconds": [], "cpu_seconds": [], "deviation": 0.0}
        for name, record in records.items():
            record["calls"] = self.calls_for(name, work, self.options.seconds * (1 if work.images else OPERATION_SHARE))
        rounds = 0
        while rounds < self.options.repeats or self.wants_more(work, records.values(), rounds):
            for name, _ in rotated(turns, rounds):
                self.time_once(name, records.get(name))
            rounds += 1
        for name, own_work in turns:
            if records.get(name) and len(records[name]["seconds"]) == rounds:
                self.results.timings.append({**records[name], "flops": own_work.flops, "bytes": own_work.bytes,
                                             "images": own_work.images, "tags": list(own_work.tags)})

    def wants_more(self, work, records, rounds):
        """Whether the median of some figure is not as certain yet as that of one whose rounds vary by ``busy.SPREAD``.

        The uncertainty of a median is the spread of the rounds divided by the root of their number.
        """
        if self.options.few or work.section not in ("training", "scaling") or rounds >= PATIENCE * self.options.repeats:
            return False
        limit = busy.SPREAD * math.sqrt(rounds / self.options.repeats)
        return any(spread(record["seconds"]) > limit for record in records if record["seconds"])

    def prepare(self, work, names):
        """Give the work to these contestants; returns ``{name: {"deviation": ...}}`` of those that do it right."""
        arrays = works.make_arrays(work)
        path = self.folder / "arrays.npz"
        np.savez(path, **arrays)
        weights = self.initial_weights(work.job) if work.images else None
        right = agreement.judge(work, arrays, weights and weights[1])
        ready = {}
        for name in names:
            if name not in self.workers:
                continue
            try:
                ready[name] = {"deviation": self.prepare_one(name, work, path, weights and weights[0], right)}
            except Unsupported:
                continue
            except WorkerError as error:
                self.fail(name, work.name, error)
        return ready

    def prepare_one(self, name, work, arrays, weights, right):
        """Give the work to one contestant and compare what it computes; returns the deviation."""
        worker = self.workers[name]
        worker.ask("prepare", work=work.as_dict(), arrays=str(arrays), weights=weights and str(weights))
        path = self.folder / f"result-{os.path.basename(name)}.npz"
        worker.ask("result", path=str(path))
        with np.load(path) as found:
            deviation = agreement.deviation(work, right, found) / contestants.entry(name).tolerance
        if not deviation <= 1:
            raise WorkerError(f"{name}: computed something else: its result is {deviation:.3g} times as far from the "
                              "judge's as is tolerated (not timed)")
        return deviation

    def initial_weights(self, network):
        """File and list of the initial weights that all contestants take."""
        from minicnn import zoo
        if network not in self.weights:
            spec = works.NETWORKS[network]
            weights = getattr(zoo, spec.builder)(**spec.arguments, seed=0, backend="im2col").get_weights()
            path = self.folder / f"{network}.npz"
            np.savez(path, *weights)
            self.weights[network] = path, weights
        return self.weights[network]

    def calls_for(self, name, work, seconds):
        """How many calls fill a turn of so many seconds, found by a trial that also warms everything up."""
        try:
            once = max(self.workers[name].ask("run", calls=1)["seconds"], 1e-6)
            if once < seconds / 4:
                calls = max(1, min(100, int(seconds / 4 / once)))
                once = max(self.workers[name].ask("run", calls=calls, warm=0)["seconds"] / calls, 1e-6)
        except WorkerError as error:
            self.fail(name, work.name, error)
            return 0
        return max(1, min(10_000, round(seconds / once)))

    def time_once(self, name, record):
        """One contestant's turn in one round."""
        if name not in self.workers or not record["calls"]:
            return
        warm = 0 if record["calls"] == 1 else 1  # one call that fills the turn needs no other to warm it up
        try:
            answer = self.workers[name].ask("run", calls=record["calls"], warm=warm)
        except WorkerError as error:
            self.fail(name, record["work"], error)
            return
        for key in ("seconds", "cpu_seconds"):
            record[key].append(answer[key] / record["calls"])

    # ---- processes from their start ------------------------------------------------------------------------------

    def first_step(self, name, work, environment=None, steps=1):
        """Seconds from the start of a process to the end of its first training step; and the worker, still open.

        All requests are sent at once: nothing waits for the parent.
        """
        arrays = self.folder / "start.npz"
        if not arrays.exists():
            np.savez(arrays, **works.make_arrays(work))
        weights, _ = self.initial_weights(work.job)
        started = time.perf_counter()
        worker = self.worker(name, environment)
        try:
            worker.send("open")
            worker.send("prepare", work=work.as_dict(), arrays=str(arrays), weights=str(weights))
            worker.send("run", calls=steps, warm=0)
            for command in ("open", "prepare", "run"):
                worker.receive(command)
                worker.resume()
        except WorkerError:
            worker.close()
            raise
        return time.perf_counter() - started, worker

    def measure_starts(self):
        """Warm and cold starts, contestant by contestant, round by round."""
        (work,) = works.networks("training", self.options.networks[:1], self.options.batches[:1])
        caches = {name: {"NUMBA_CACHE_DIR": str(self.folder / f"cache-{os.path.basename(name)}")}
                  for name in self.names}
        if self.options.cold:
            for name in self.options.backends:
                self.start_once("cold", name, work, caches[name])
        else:
            caches = dict.fromkeys(self.names)  # the reader's own cache
            self.fill_caches(work)
        for turn in range(1 if self.options.few else min(3, self.options.repeats)):
            for name in rotated(self.process_names, turn):
                self.start_once("warm", name, work, caches[name])

    def start_once(self, kind, name, work, environment=None):
        """One start; ``kind`` None is not recorded."""
        self.progress(f"{kind or 'preparing warm'} start: {name}")
        try:
            seconds, worker = self.first_step(name, work, environment)
        except WorkerError as error:
            self.results.add_failure(name, f"{kind} start", str(error))
            return
        worker.close()
        if kind:
            self.results.starts.append({"contestant": name, "kind": kind, "work": work.name, "seconds": seconds})

    def fill_caches(self, work):
        """Have the back-ends compile what this training needs, where they have not done so yet."""
        if not {"training", "scaling"} & set(self.options.sections):
            for name in self.options.backends:
                self.start_once(None, name, work)

    def measure_memory(self):
        """Greatest resident memory of a process that trains."""
        networks = self.options.networks[:1] if self.options.few else self.options.networks
        for work in works.networks("training", networks, [self.middle_batch]):
            (self.folder / "start.npz").unlink(missing_ok=True)
            self.fill_caches(work)
            for name in self.process_names:
                self.progress(f"memory: {name}, {work.name}")
                try:
                    _, worker = self.first_step(name, work, steps=MEMORY_STEPS)
                    with worker:
                        use = worker.ask("memory")
                except WorkerError as error:
                    self.results.add_failure(name, f"memory of {work.name}", str(error))
                    continue
                self.results.memory.append({"contestant": name, "work": work.name, **use})


def rotated(items, turn):
    """The list, beginning ``turn`` places later: in each round another contestant comes first."""
    turn %= max(1, len(items))
    return items[turn:] + items[:turn]
