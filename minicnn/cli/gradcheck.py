"""Check gradients: of MiniCNN's back-ends, or of a file of your own.

Without arguments, every operation, layer and loss and the documents' networks are checked on every back-end that this
machine can run, by finite differences, by the adjoint identity where the operation is linear, and against the reference
back-end. With a file, every function of the contract (kernels/__init__.py) that the file defines is graded,
and for each
mistake the report says where it shows and what the likely cause is. The exit status is 1 if anything is wrong.

Examples:
  minicnn gradcheck                         all back-ends
  minicnn gradcheck --backend im2col --only conv2d,dense
  minicnn gradcheck my_homework.py          a file of your own
  minicnn gradcheck my_homework.py --plot conv2d.png
"""

from __future__ import annotations

import json
import os
import time

from minicnn.cli import at_least_zero, positive_number

PARTS = ("layers", "losses", "networks")


def add_arguments(parser):
    parser.add_argument("file", nargs="?", help="a Python file that defines functions of the contract")
    parser.add_argument("--backend", default="all", metavar="NAME",
                        help="reference, im2col, cpu, cuda, a file, or all (the default)")
    parser.add_argument("--only", type=_names, metavar="NAMES", help="operations or functions, separated by commas; "
                                                                     "also: "
                        + ", ".join(PARTS))
    parser.add_argument("--seed", type=at_least_zero, default=0, help="chooses shapes, numbers and coordinates "
                                                                      "(default 0)")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64",
                        help="type of the numbers; float32 has wider tolerances (back-ends only)")
    parser.add_argument("--time-limit", type=positive_number, default=None, metavar="SECONDS",
                        help="for one call of a function of a file (default 5)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--plot", metavar="PICTURE", help="write the V-curve of error against step size, and a map of "
                                                          "the errors, to this file")


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def run(arguments):
    """Check, print, and return 0 if all is well, else 1."""
    if arguments.file is not None:
        return _grade_file(arguments)
    return _check_backends(arguments)


def _grade_file(arguments):
    from minicnn.gradcheck import homework
    from minicnn.gradcheck.operations import functions_named
    from minicnn.gradcheck.report import file_report

    if not os.path.isfile(arguments.file):
        raise FileNotFoundError(f"{arguments.file}: there is no such file")
    only = functions_named(arguments.only) if arguments.only else None
    limit = homework.TIME_LIMIT if arguments.time_limit is None else arguments.time_limit
    report = homework.grade_file(arguments.file, arguments.seed, only, limit, sweep=bool(arguments.plot))
    if arguments.json:
        from dataclasses import asdict
        print(json.dumps({**asdict(report), "ok": report.ok}, indent=1))
    else:
        print(file_report(report))
    if arguments.plot and report.error is None:
        from minicnn.gradcheck.plots import plot_file
        plot_file(report, arguments.plot)
        if not arguments.json:
            print(f"{arguments.plot}: the V-curve and the map of the errors")
    return 0 if report.ok else 1


def _check_backends(arguments):
    from minicnn.gradcheck.check import CheckResult
    from minicnn.gradcheck.survey import backends_to_check, survey

    start = time.perf_counter()
    backends, skipped = backends_to_check(arguments.backend)
    rows = []
    for name, backend in backends:
        result = CheckResult(survey(backend, arguments.seed, arguments.dtype, arguments.only))
        for row in result.rows:
            row.backend = name
        rows += result.rows
        if not arguments.json:
            seconds = sum(row.seconds for row in result.rows)
            print(f"{name}, {arguments.dtype} ({seconds:.1f} s)\n{result.table()}")
            print("".join(f"  {row.detail}\n" for row in result.rows if row.detail))
    ok = CheckResult(rows).ok
    if arguments.json:
        print(json.dumps({"ok": ok, "rows": CheckResult(rows).as_dicts(), "skipped": skipped,
                          "seconds": time.perf_counter() - start}, indent=1))
    else:
        for name, reason in skipped.items():
            print(f"{name}: not checked, {reason}")
        wrong = sum(row.verdict != "good" for row in rows)
        print(f"{len(rows)} results on {len(backends)} back-ends in {time.perf_counter() - start:.1f} s: "
              + ("all good." if ok else f"{wrong} NOT good."))
    if arguments.plot:
        from minicnn.gradcheck.plots import plot_backends
        plot_backends(backends, arguments.plot, arguments.seed, arguments.dtype)
        if not arguments.json:
            print(f"{arguments.plot}: error against step size")
    return 0 if ok else 1
