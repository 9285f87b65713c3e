"""A contestant's process. It reads requests from standard input and answers on standard output, a line of JSON each.

    {"command": "open"}                          imports the library           -> {"versions": {...}}
    {"command": "prepare", "work": ..., "arrays": "/path/x.npz", "weights": "/path/w.npz"}
                                                 forgets the job before, makes one of this work
    {"command": "result", "path": "/path/r.npz"} writes what the job computes, to be compared with the others
    {"command": "run", "calls": 20, "warm": 1}   does the job 1 + 20 times     -> {"seconds": ..., "cpu_seconds": ...}
                                                 of the 20 calls
    {"command": "memory"}                                                      -> {"peak_bytes": ..., "bytes": ...}
    {"command": "close"}

An answer is an object; ``{"error": "...", "kind": "..."}`` says what went wrong, with the traceback under "traceback",
and ``{"unsupported": true}`` that this contestant does not offer that work. What a library prints goes to standard
error.

A process of its own for every contestant: thread pools of two libraries in one process disturb each other, and each
would see the memory that the other has taken.

    python -m minicnn.bench.worker CONTESTANT THREADS [CPU,CPU,...]
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback


def main(argv=None):
    """Serve requests until "close" or the end of the input."""
    name, threads, *cpus = sys.argv[1:] if argv is None else argv
    if cpus:
        os.sched_setaffinity(0, map(int, cpus[0].split(",")))
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C is for the parent; and if the parent dies, the system wakes and ends a stopped worker
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = Server(name, int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(server.answer(request)) + "\n")
        answers.flush()
        if request["command"] == "close":
            break


class Server:
    """Holds the contestant and its present job."""

    commands = ("open", "prepare", "result", "run", "memory", "close")

    def __init__(self, name, threads):
        self.name, self.threads = name, threads
        self.contestant = self.job = None

    def answer(self, request):
        """The answer to one request; never raises."""
        from minicnn.bench.contestants.base import Unsteady, Unsupported

        fields = dict(request)
        command = fields.pop("command", None)
        if command not in self.commands:
            return {"error": f"unknown command {command!r}; there are {', '.join(self.commands)}", "kind": "ValueError"}
        try:
            return getattr(self, command)(**fields) or {}
        except Unsupported:
            return {"unsupported": True}
        except Unsteady as error:
            return {"error": str(error), "kind": "not measured"}
        except Exception as error:
            return {"error": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}

    def open(self):
        from minicnn.bench import contestants
        self.contestant = contestants.load(self.name, self.threads)
        return {"versions": self.contestant.versions()}

    def prepare(self, work, arrays, weights=None):
        import numpy as np

        self.job = None
        with np.load(arrays) as file:
            arrays = {name: file[name] for name in work["shapes"]}
        if work["images"]:
            with np.load(weights) as file:
                weights = [file[f"arr_{i}"] for i in range(len(file.files))]
            prepare = self.contestant.inference if work["section"] == "inference" else self.contestant.training
            self.job = prepare(work["job"], weights, arrays["images"], arrays["labels"])
        else:
            self.job = self.contestant.operation(work["job"], arrays, work["options"])

    def result(self, path):
        import numpy as np
        np.savez(path, **self.job.result())

    def run(self, calls, warm=1):
        if warm:
            self.job.seconds(warm)
        cpu = time.process_time()
        seconds = self.job.seconds(calls)
        return {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}

    def memory(self):
        from minicnn.bench.machine import memory_use
        return dict(zip(("peak_bytes", "bytes"), memory_use()))

    def close(self):
        pass


if __name__ == "__main__":
    main()
