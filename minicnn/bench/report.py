"""From records to figures, and from figures to tables and ``bench.json``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from statistics import median

from minicnn._version import __version__
from minicnn.bench import busy, contestants, goals, machine
from minicnn.bench.statistics import geometric_mean, paired_ratio, spread

#: Raised when the meaning of a field changes.
FORMAT = 1


def summarize(results, options):
    """Everything as one dict that JSON can hold; ``bench.json`` is this.

    Keys: format, minicnn, date, machine, options, contestants (versions), timings (a record for each work and
    contestant: section, work, seconds of every round, median, spread, rate and its unit, share of sgemm, deviation from
    the judge in units of what is tolerated), ratios (section -> work -> peer -> how many times as fast the first
    back-end is), convolution_means, scaling, starts, memory, goals, failures, warnings, seconds.
    """
    timings = [figures(record) for record in results.timings]
    add_shares(timings)
    leader = options.backends[0]
    summary = {
        "format": FORMAT, "minicnn": __version__, "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": machine.describe(), "options": asdict(options), "contestants": results.contestants,
        "leader": leader, "timings": timings, "ratios": ratios(timings, leader),
        "convolution_means": convolution_means(timings, leader), "scaling": scaling(timings),
        "starts": starts(results.starts), "memory": results.memory, "failures": results.failures,
        "load": results.load, "foreign_cpus": results.foreign_cpus, "seconds": results.seconds,
    }
    summary["goals"] = goals.check(summary)
    summary["warnings"] = busy.warnings(summary)
    return summary


def figures(record):
    """A timing record with its median, spread and rate."""
    middle = median(record["seconds"])
    if record["images"]:
        rate, unit = record["images"] / middle, "images/s"
    elif record["flops"]:
        rate, unit = record["flops"] / middle / 1e9, "GFLOP/s"
    else:
        rate, unit = record["bytes"] / middle / 1e9, "GB/s"
    return {**record, "median": middle, "spread": spread(record["seconds"]), "rate": rate, "unit": unit}


def add_shares(timings):
    """Share of sgemm's rate in the same rounds, for the convolutions."""
    roofs = {entry["work"]: entry for entry in timings
             if entry["contestant"] == contestants.MACHINE and entry["section"] == "convolutions"}
    for entry in timings:
        roof = roofs.get(entry["work"])
        if roof and entry is not roof:
            entry["share"] = paired_ratio(roof["seconds"], entry["seconds"]) * entry["flops"] / roof["flops"]


def by_work(timings, section, but=(contestants.MACHINE,)):
    """``{work: {contestant: record}}`` of a section, in the order of measurement, without the names in ``but``."""
    found = {}
    for entry in timings:
        if entry["section"] == section and entry["contestant"] not in but:
            found.setdefault(entry["work"], {})[entry["contestant"]] = entry
    return found


def ratios(timings, leader):
    """How many times as fast the leader is as each other contestant, in every work that both did."""
    return {section: {work: {name: paired_ratio(entry["seconds"], entries[leader]["seconds"])
                             for name, entry in entries.items() if name != leader}
                      for work, entries in by_work(timings, section).items() if leader in entries}
            for section in ("convolutions", "operations", "training", "inference")}


def convolution_means(timings, leader):
    """Geometric means over the convolution passes that a contestant and the leader both did."""
    works = by_work(timings, "convolutions")
    means = {}
    for name in {name: None for entries in works.values() for name in entries}:
        entries = [entries for entries in works.values() if name in entries]
        both = [entries for entries in entries if leader in entries]
        means[name] = {
            "passes": len(entries),
            "rate": geometric_mean(entry[name]["rate"] for entry in entries),
            "share": geometric_mean(entry[name]["share"] for entry in entries if "share" in entry[name]),
            "speed_ratio": geometric_mean(paired_ratio(entry[name]["seconds"], entry[leader]["seconds"])
                                          for entry in both)}
    return means


def scaling(timings):
    """How many times as fast all threads are as one: ``{work: {back-end: ratio}}``, for the machine its sgemm."""
    return {work: {name: paired_ratio(entries[f"{name}, 1 thread"]["seconds"], entry["seconds"])
                   for name, entry in entries.items() if f"{name}, 1 thread" in entries}
            for work, entries in by_work(timings, "scaling", but=()).items()}


def starts(records):
    """Median of the starts of each kind."""
    groups = {}
    for record in records:
        groups.setdefault((record["kind"], record["contestant"], record["work"]), []).append(record["seconds"])
    return [{"kind": kind, "contestant": name, "work": work, "seconds": seconds, "median": median(seconds)}
            for (kind, name, work), seconds in groups.items()]


def write_json(summary, path):
    """Write ``bench.json``."""
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


# ---- tables ------------------------------------------------------------------------------------------------------


def text(summary):
    """All tables, as they are printed."""
    options = summary["options"]
    columns = [*options["backends"], *options["peers"]]
    parts = [heading(summary)]
    parts += convolution_table(summary, columns)
    parts += rate_table(summary, "operations", "Other operations", columns)
    parts += ladder_tables(summary)
    parts += rate_table(summary, "training", "Training: images per second", columns)
    parts += rate_table(summary, "inference", "Inference: images per second", columns)
    parts += scaling_table(summary)
    parts += start_table(summary, columns)
    parts += memory_table(summary, columns)
    parts += goal_table(summary)
    for failure in summary["failures"]:
        parts.append(f"NOT MEASURED: {failure['contestant']}, {failure['work']}: {failure['message']}")
    parts += [f"WARNING: {warning}" for warning in summary["warnings"]]
    return "\n\n".join(parts)


def heading(summary):
    """Machine, contestants and how it was measured."""
    facts, options = summary["machine"], summary["options"]
    held = "" if options["isa"] == "native" else f" and {options['isa'].upper()} instructions at most"
    lines = [f"MiniCNN {summary['minicnn']} on {facts['processor']}, {facts['cpus']} CPUs; {options['threads']} "
             f"threads{held} for everybody; Python {facts['python']}, {facts['system']}"]
    for entry in summary["timings"]:
        if entry["section"] == "machine":
            lines.append(f"  {entry['work']}: {entry['rate']:.1f} {entry['unit']}")
    for name, versions in summary["contestants"].items():
        if contestants.LADDER in name:
            continue
        lines.append(f"  {name}: " + ", ".join(f"{what} {version}" for what, version in versions.items()))
    rounds = [len(entry["seconds"]) for entry in summary["timings"]] or [options["repeats"]]
    rounds = f"{min(rounds)} to {max(rounds)}" if min(rounds) < max(rounds) else f"{rounds[0]}"
    lines.append(f"Medians of {rounds} rounds in which the contestants took turns; in all "
                 f"{summary['seconds']:.0f} s. All contestants of a row were found to compute the same.")
    return "\n".join(lines)


def convolution_table(summary, columns):
    """GFLOP/s and share of sgemm of every pass, with geometric means."""
    works = by_work(summary["timings"], "convolutions")
    if not works:
        return []
    columns = [name for name in columns if any(name in entries for entries in works.values())]
    rows = [[work, *(cell(entries.get(name), share=True) for name in columns)] for work, entries in works.items()]
    means = summary["convolution_means"]
    rows += [["geometric mean", *(f"{means[name]['rate']:.1f} {percent(means[name]['share'])}" for name in columns)]]
    return [table("Convolution passes: GFLOP/s (and share of sgemm's rate in the same rounds)", ["pass", *columns],
                  rows)]


def ladder_tables(summary):
    """For each back-end's ladder what each rung bought."""
    tables = []
    for work, entries in by_work(summary["timings"], "ladder").items():
        rows, before = [], None
        for name, entry in entries.items():
            gain = "" if before is None else f"{paired_ratio(before['seconds'], entry['seconds']):.2f}x"
            rows.append([name.partition(": ")[2], f"{entry['median'] * 1e3:.2f}", cell(entry), gain])
            before = entry
        tables.append(table(f"The {work}", ["rung", "ms", "GFLOP/s", "to the one before"], rows))
    return tables


def rate_table(summary, section, title, columns):
    """Rates of one section; for networks also how many times as fast the first back-end is."""
    works = by_work(summary["timings"], section)
    if not works:
        return []
    columns = [name for name in columns if any(name in entries for entries in works.values())]
    networks = section in ("training", "inference")
    rows = []
    for work, entries in works.items():
        unit = next(iter(entries.values()))["unit"]
        rows.append([work if networks else f"{work} [{unit}]", *(cell(entries.get(name)) for name in columns)])
        ratio = summary["ratios"][section].get(work, {})
        if networks and ratio:
            rows.append([f"  speed of {summary['leader']} over it",
                         *(f"{ratio[name]:.2f}x" if name in ratio else "" for name in columns)])
    return [table(title, ["work", *columns], rows)]


def scaling_table(summary):
    """All threads against one."""
    threads = summary["options"]["threads"]
    rows = [[work, "sgemm, in the same rounds" if name == contestants.MACHINE else name, f"{ratio:.2f}x"]
            for work, found in summary["scaling"].items() for name, ratio in found.items()]
    return [table(f"Training with {threads} threads: times as fast as with one", ["work", "back-end", "ratio"],
                  rows)] if rows else []


def start_table(summary, columns):
    """Seconds to the end of the first training step."""
    if not summary["starts"]:
        return []
    kinds = [kind for kind in ("cold", "warm") if any(entry["kind"] == kind for entry in summary["starts"])]
    found = {(entry["kind"], entry["contestant"]): entry["median"] for entry in summary["starts"]}
    columns = [name for name in columns if any(name == contestant for _, contestant in found)]
    rows = [[f"{kind} start", *(f"{found[kind, name]:.2f}" if (kind, name) in found else "" for name in columns)]
            for kind in kinds]
    return [table(f"Start of a process to the end of its first training step ({summary['starts'][0]['work']}): seconds",
                  ["", *columns], rows,
                  note="cold: MiniCNN's compiled kernels are not cached yet; the peers keep nothing between two runs")]


def memory_table(summary, columns):
    """Peak memory of training."""
    if not summary["memory"]:
        return []
    works = list(dict.fromkeys(entry["work"] for entry in summary["memory"]))
    found = {(entry["work"], entry["contestant"]): entry["peak_bytes"] for entry in summary["memory"]}
    columns = [name for name in columns if any(name == contestant for _, contestant in found)]
    rows = [[work, *(f"{found[work, name] / 2**20:.0f}" if found.get((work, name)) else "" for name in columns)]
            for work in works]
    return [table("Peak resident memory of a process that trains: MiB", ["work", *columns], rows)]


def goal_table(summary):
    """The goals, as far as this run can judge them."""
    rows = [[entry["goal"], f"{entry['value']:.2f} {entry['unit']}", f"{entry['bar']:.2f} {entry['unit']}",
             "met" if entry["met"] else "MISSED"] for entry in summary["goals"]]
    title = "Goals of the cpu back-end (stated for 2 cores and AVX2)"
    return [table(title, ["goal", "value", "bar", ""], rows)] if rows else []


def cell(entry, share=False):
    """A rate as short text; empty when there is none."""
    if entry is None:
        return ""
    rate = entry["rate"]
    number = f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"
    return f"{number} {percent(entry.get('share'))}" if share else number


def percent(share):
    """A share as ``( 75%)``."""
    return "" if share is None else f"({100 * share:3.0f}%)"


def table(title, header, rows, note=None):
    """Columns of text, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row):
        return "  ".join([f"{row[0]:{widths[0]}}", *(f"{text:>{width}}" for text, width in zip(row[1:], widths[1:]))])

    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([title, rule, line(header).rstrip(), rule, *(line(row).rstrip() for row in rows), rule,
                      *([note] if note else [])])
