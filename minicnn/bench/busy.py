"""Was the machine quiet enough for the figures to be believed?"""

from __future__ import annotations

from minicnn.bench import contestants

#: CPUs that others may use on average, and runnable processes before the beginning, without a warning.
FOREIGN_CPUS, LOAD = 0.1, 0.5
#: The matrix product keeps all threads busy: less CPU time than this share of threads x time means that it had to wait.
CPU_SHARE = 0.9
#: Spread (distance of the quartiles over the median) from which a figure counts as unsteady, and the share of
#: unsteady figures from which there is a warning.
SPREAD, UNSTEADY = 0.10, 0.2


def warnings(summary):
    """Sentences to print, none if all is well."""
    found = []
    load, foreign = summary["load"], summary["foreign_cpus"]
    if load is not None and load > LOAD:
        found.append(f"the machine was busy before the beginning: load average {load:.1f}")
    if foreign is not None and foreign > FOREIGN_CPUS:
        found.append(f"others used {foreign:.2f} CPUs on average while this ran; close other programs and repeat")
    shares = cpu_shares(summary)
    if shares and sorted(shares)[len(shares) // 2] < CPU_SHARE:
        found.append(f"NumPy's matrix product got only {100 * sorted(shares)[len(shares) // 2]:.0f} % of the CPU time "
                     "of its threads: something else was computing, or fewer cores are available than it seems")
    unsteady = [entry for entry in summary["timings"] if entry["spread"] > SPREAD]
    if len(unsteady) > UNSTEADY * len(summary["timings"]):
        worst = max(unsteady, key=lambda entry: entry["spread"])
        found.append(f"{len(unsteady)} of {len(summary['timings'])} figures vary by more than {100 * SPREAD:.0f} % "
                     f"between rounds; most: {worst['work']}, {worst['contestant']} ({100 * worst['spread']:.0f} %)")
    return found


def cpu_shares(summary):
    """CPU time of the matrix product, as a share of what its threads could have used, for each round."""
    threads = summary["options"]["threads"]
    return [cpu / (threads * seconds) for entry in summary["timings"]
            if entry["contestant"] == contestants.MACHINE and entry["job"] == "sgemm"
            for cpu, seconds in zip(entry["cpu_seconds"], entry["seconds"])]
