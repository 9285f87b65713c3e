"""Grading a file of unknown quality: in a process of its own, one function at a time, with a time limit.

A student's file may loop for ever, exit, or crash the interpreter. So it is loaded and called in a child process
(``minicnn.gradcheck.worker``), which reports each function on a pipe, as one line of JSON. When the child does
not answer
in time or dies, the function it was busy with is to blame; a new child goes on with the rest.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

import minicnn
from minicnn.gradcheck.results import FunctionReport

#: Seconds that one call of a function may take, that loading the file may take, and that Python may take to start; and
#: how many times the first of these all calls of a function together may take.
TIME_LIMIT = 5.0
LOAD_LIMIT = 20.0
START_LIMIT = 60.0
PATIENCE = 6


@dataclass
class FileReport:
    """What is known of a file: why it could not be loaded, or a report for each function."""

    path: str
    error: str | None = None
    functions: list = field(default_factory=list)
    seconds: float = 0.0
    prints: str = ""
    strangers: list = field(default_factory=list)

    @property
    def ok(self):
        """Whether the file holds something and nothing is wrong with it."""
        return self.error is None and bool(self.functions) and all(report.ok for report in self.functions)


def grade_file(path, seed=0, only=None, time_limit=TIME_LIMIT, progress=None, sweep=False):
    """Grade every function of the contract that a file defines.

    Parameters
    ----------
    path : str
        A Python file.
    seed : int
        Chooses the inputs.
    only : list of str, optional
        Grade these functions only.
    time_limit : float
        Seconds for one call of a function; its whole grading may take ``PATIENCE`` times that.
    progress : callable, optional
        Called with the name of each function before it is graded.
    sweep : bool
        Whether to measure the error against the step as well, for a plot.

    Returns
    -------
    FileReport
    """
    start = time.perf_counter()
    report = FileReport(os.fspath(path))
    if not os.path.isfile(report.path):
        report.error = "there is no such file"
        return report
    done, broken, waiting = {}, [], None
    while waiting is None or waiting:
        with _Child(report.path, seed, waiting if waiting is not None else only, broken, time_limit, sweep) as child:
            waiting = child.collect(report, done, broken, waiting, progress)
        if report.error:
            break
    report.functions = list(done.values())
    report.seconds = time.perf_counter() - start
    return report


class _Child:
    """One worker process and the thread that reads its lines."""

    def __init__(self, path, seed, only, broken, time_limit, sweep):
        self.time_limit = time_limit
        self.traces = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115 (closed in __exit__)
        request = {"path": os.path.abspath(path), "seed": seed, "only": only, "broken": broken,
                   "time_limit": time_limit, "load_limit": LOAD_LIMIT, "sweep": sweep}
        here = os.path.dirname(os.path.dirname(os.path.abspath(minicnn.__file__)))
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen([sys.executable, "-m", "minicnn.gradcheck.worker", json.dumps(request)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.traces,
                                        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(timeout=5)
        self.process.stdout.close()
        self.traces.close()

    def collect(self, report, done, broken, waiting, progress):
        """Read reports until the child is done or must be given up; return the names that are still to be graded."""
        current, limit, end = None, START_LIMIT, float("inf")
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, min(limit, end - time.monotonic())))
                died = line is None
            except queue.Empty:
                line, died = None, False
            if line is None:
                return self._give_up(report, done, broken, waiting, current, died)
            message = json.loads(line)
            if "error" in message:
                report.error, report.prints = message["error"], message.get("prints", "")
                return []
            if "functions" in message:
                waiting = message["functions"]
                report.prints = report.prints or message["prints"]
                report.strangers = message["strangers"]
            elif "loading" in message:
                limit = LOAD_LIMIT
            elif "start" in message:
                current, limit = message["start"], self.time_limit
                end = time.monotonic() + PATIENCE * self.time_limit
                if progress:
                    progress(current)
            elif "report" in message:
                graded = FunctionReport.from_dict(message["report"])
                done[graded.function] = graded
                waiting = [name for name in waiting if name != graded.function]
                current, limit, end = None, LOAD_LIMIT, float("inf")
            elif "end" in message:
                return []

    def _give_up(self, report, done, broken, waiting, current, died):
        """The child died or is silent: say so of the function it was busy with, or of the file."""
        where = self._where(report.path)
        if current is None:
            report.error = (f"loading the file ends the whole Python process{where}" if died else
                            f"loading the file did not end within {LOAD_LIMIT:g} s{where or ' (an endless loop?)'}")
            return []
        if died:
            code = self.process.wait()
            verdict = "crash"
            how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
            text = f"ends the whole Python process ({how}){where}"
        else:
            verdict = "time limit"
            text = f"a call did not end within {self.time_limit:g} s: an endless loop, or much too slow{where}"
        done[current] = FunctionReport(current, verdict, problems=[text], seconds=self.time_limit if not died else 0.0)
        broken.append(current)
        return [name for name in waiting if name != current]

    def _where(self, path):
        """``; it was at line 14, in conv2d_forward``, from the child's last stack trace."""
        self.traces.seek(0)
        text = self.traces.read().decode(errors="replace")
        stacks = text.split("most recent call first")
        for line in stacks[-1].splitlines() if len(stacks) > 1 else ():
            if f'File "{os.path.abspath(path)}"' in line:
                place = line.strip().partition(", ")[2]
                return "; it was at " + place.replace(" in ", ", in ")
        return ""
