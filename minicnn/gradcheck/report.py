"""Reports as text: the table of a check, and the account of a homework file."""

from __future__ import annotations

import os
import textwrap

WIDTH = 110
_MARK = {"good": "good", "suspect": "SUSPECT", "wrong": "WRONG", "not written": "not written yet", "missing": "missing",
         "time limit": "TIME LIMIT", "crash": "CRASH"}


def number(value):
    """Six digits: enough to compare, few enough to read."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}"


def error(value):
    """``2.1e-09``; ``0`` and ``inf`` as such."""
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}"


def table(rows, header):
    """Rows of strings under a header, columns aligned; columns whose cells are numbers to the right."""
    cells = [list(map(str, row)) for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *cells]) for column in range(len(header))]
    right = [all(row[column][:1].isdigit() or row[column] in ("-", "inf", "nan") for row in cells) and bool(cells)
             for column in range(len(header))]

    def line(parts):
        return "  ".join(part.rjust(width) if to_right else part.ljust(width)
                         for part, width, to_right in zip(parts, widths, right, strict=True)).rstrip()
    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, cells)])


def file_report(report, verbose=False):
    """The account of a homework file, for its author."""
    name = os.path.basename(report.path)
    if report.error:
        return "\n".join([_wrap(f"{name}: {report.error}", ""), *_prints(report.prints)])
    lines = [_summary_table(report)]
    for function in report.functions:
        if function.verdict != "not written" and (not function.ok or function.notes or function.prints):
            lines += ["", function_report(function)]
    unwritten = [function.function for function in report.functions if function.verdict == "not written"]
    if unwritten:
        lines += ["", _wrap(f"Not written yet (NotImplementedError): {', '.join(unwritten)}", "")]
    for stranger in report.strangers:
        lines += ["", _wrap(f"Not graded: {stranger}", "")]
    lines += [*_prints(report.prints), "", _conclusion(report)]
    return "\n".join(lines)


def _summary_table(report):
    rows = []
    for function in report.functions:
        if not function.results:
            rows.append((function.function, "", "-", "-", "-", "-", _MARK[function.verdict], seconds(function.seconds)))
        for place, result in enumerate(function.results):
            rows.append((function.function if place == 0 else "", result.name, error(result.error),
                         error(result.difference_error), str(result.coordinates) if result.coordinates else "-",
                         str(result.kinks) if result.coordinates else "-", _MARK[result.verdict],
                         seconds(function.seconds) if place == 0 else ""))
        if function.results and function.problems and all(result.verdict == "good" for result in function.results):
            rows.append(("", "", "", "", "", "", _MARK[function.verdict] + " (see below)", ""))
    return table(rows, ("function", "result", "vs reference", "vs differences", "coordinates", "kinks", "verdict",
                        "time"))


def seconds(value):
    """``0.12 s``."""
    return f"{value:.2f} s"


def function_report(function):
    """What is wrong with one function, as text."""
    lines = [f"{function.function}: {_MARK[function.verdict]}"]
    for problem in function.problems:
        lines.append(_wrap(problem, "  * "))
    for result in function.results:
        if result.verdict != "good" and (result.place or result.cause):
            lines += _result(result)
    if function.right_cases and function.wrong_cases:
        lines.append(_wrap(f"right in the cases: {', '.join(function.right_cases)}", "  "))
        lines.append(_wrap(f"not in: {', '.join(function.wrong_cases)}", "  "))
    for note in function.notes:
        lines.append(_wrap(f"note: {note}", "  "))
    lines += ["  " + line for line in _prints(function.prints)]
    return "\n".join(lines)


def _result(result):
    lines = [_wrap(f"{result.name}: {result.where}", "  ")] if result.where else [f"  {result.name}:"]
    if result.place:
        right = f"{result.place} is {number(result.actual)}, should be {number(result.expected)}"
        if result.difference is not None:
            right += f" (finite differences: {number(result.difference)})"
        lines.append(_wrap(right, "      "))
        lines.append(_wrap(f"in the case {result.case}", "      "))
        lines += ["      " + line for line in result.picture]
    if result.cause:
        lines.append(_wrap(f"likely cause: {result.cause}", "    -> "))
    return lines


def _conclusion(report):
    name = os.path.basename(report.path)
    count = len(report.functions)
    right = sum(function.ok for function in report.functions)
    written = sum(function.verdict != "not written" for function in report.functions)
    if right == count:
        return f"{name}: {'the function is' if count == 1 else f'all {count} functions are'} right."
    text = f"{name}: {right} of {count} {'function' if count == 1 else 'functions'} right"
    return text + (f", {count - written} not written yet." if written < count else ".")


def _prints(text):
    if not text.strip():
        return []
    lines = text.strip().splitlines()
    more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
    return [f"note: prints {lines[0][:80]!r}{more}"]


def _wrap(text, indent):
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent),
                         break_long_words=False, break_on_hyphens=False)
