"""The child process that loads a student's file and grades it; see ``homework``.

Run as ``python -m minicnn.gradcheck.worker REQUEST`` with a request in JSON. Its standard output carries nothing but
messages, one line of JSON each; what the student's code prints is caught.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import json
import os
import sys
import time

import kernels
from minicnn.backends import defined_functions, load_file, near_misses
from minicnn.gradcheck.calls import solve
from minicnn.gradcheck.grade import grade_function
from minicnn.gradcheck.operations import OPERATION_OF


class _Prints(io.TextIOBase):
    """Keeps the beginning of what is printed."""

    def __init__(self):
        super().__init__()
        self.text = ""

    def write(self, text):
        self.text += text[:max(0, 500 - len(self.text))]
        return len(text)

    def take(self):
        """What was printed since the last time."""
        text, self.text = self.text, ""
        return text


def main(request):
    """Load, grade and report."""
    channel = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # prints from C code, and from what bypasses sys.stdout
    traces = os.dup(2)
    os.dup2(null, 2)
    faulthandler.enable(file=traces)

    def send(**message):
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    prints = _Prints()
    with contextlib.redirect_stdout(prints), contextlib.redirect_stderr(prints):
        send(loading=True)
        with _Watch(traces, request["load_limit"], None):
            try:
                module = load_file(request["path"])
            except ValueError as error:
                send(error=str(error).partition(" cannot be loaded: ")[2] or str(error), prints=prints.take())
                return
        names = [name for name in defined_functions(module) if request["only"] is None or name in request["only"]]
        strangers = near_misses(module)
        if not names:
            send(error=_nothing(module, request["only"], strangers))
            return
        send(functions=names, prints=prints.take(), strangers=strangers)
        watch = _Watch(traces, request["time_limit"], lambda: send(alive=True))
        for name in names:
            setattr(module, name, watch.over(getattr(module, name)))
        for name in names:
            operation = OPERATION_OF[name]
            solve(operation.name, request["seed"])  # the reference's answers do not count towards the time limit
            send(start=name)
            with watch:
                report = grade_function(module, name, request["seed"], request["path"],
                                        operation.forward not in request["broken"],
                                        budget=0.3 * request["time_limit"], sweep=request["sweep"])
            report.prints = prints.take()
            send(report=report.as_dict())
        send(end=True)


class _Watch:
    """Tells the parent that calls return, and writes the stack shortly before its patience with one call ends."""

    def __init__(self, traces, limit, alive):
        self.traces, self.limit, self.alive = traces, limit, alive
        self.last = 0.0

    def __enter__(self):
        self.last = time.monotonic()
        faulthandler.dump_traceback_later(0.9 * self.limit, file=self.traces)

    def __exit__(self, *_):
        faulthandler.cancel_dump_traceback_later()

    def over(self, function):
        """The function, with a sign of life after a call (at most a few a second)."""
        @functools.wraps(function)
        def watched(*arguments, **options):
            result = function(*arguments, **options)
            if time.monotonic() - self.last > 0.1 * self.limit:
                self.alive()
                self.__enter__()
            return result
        return watched


def _nothing(module, only, strangers):
    if only and defined_functions(module):
        return f"defines none of {', '.join(only)}; it defines {', '.join(defined_functions(module))}"
    hint = f"; {strangers[0]}" if strangers else ""
    return (f"defines none of the contract's functions{hint}. A file to grade defines for example "
            f"conv2d_forward{kernels.CONTRACT['conv2d_forward'].replace('NO_PADDING', '((0, 0), (0, 0))')}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
