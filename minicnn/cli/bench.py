"""Measure how fast MiniCNN is on this machine, and how fast others are on the same work.

Contestants are MiniCNN's back-ends and, where they are installed, PyTorch (both layouts), Keras and JAX. Each runs in
a process of its own with the same number of threads; they take turns, round by round, and must compute the same
results. Prints tables; writes bench.json, bench-training.png and bench-roofline.png.

Examples:
  minicnn bench                                  everything (about a quarter of an hour)
  minicnn bench --quick                          a glimpse, in under a minute
  minicnn bench --only training --batch 32,128
  minicnn bench --only ops --match large --peers none
  minicnn bench --isa avx2                       as on a processor without AVX-512
  minicnn bench --backends cuda                  on a GPU, beside PyTorch on the same GPU
  minicnn bench --only ladder                    what each step from the loops to the kernel buys
  minicnn bench --backends cpu,my_homework.py --peers none --only training
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minicnn.cli import positive, positive_number

SECTIONS = ("ops", "ladder", "training", "inference", "scaling", "start", "memory")
QUICK_SECTIONS = ("ops", "training", "inference", "start", "memory")


def add_arguments(parser):
    parser.add_argument("--quick", action="store_true",
                        help="less of everything, in under a minute (the first time, compiling comes on top)")
    parser.add_argument("--only", type=words, default=None, metavar="PART,...",
                        help=f"measure these parts only: {', '.join(SECTIONS)}")
    parser.add_argument("--match", default="", metavar="TEXT",
                        help="of ops, training and inference, only what has TEXT in its name")
    parser.add_argument("--batch", type=sizes, default=None, metavar="N,...",
                        help="batch sizes of training and inference (default: 32,128,512; with cuda 4096 too)")
    parser.add_argument("--networks", type=words, default=None, metavar="NAME,...",
                        help="mnist_cnn, cifar_cnn (default: both)")
    parser.add_argument("--backends", type=words, default=None, metavar="NAME,...",
                        help="MiniCNN's back-ends, or Python files of your own (default: cpu,im2col)")
    parser.add_argument("--peers", type=words, default=["all"], metavar="NAME,...",
                        help="pytorch, pytorch-cl (channels_last), keras, jax; on a GPU pytorch-cuda, "
                             "pytorch-cuda-tf32; all: those installed (default; beside cuda those on the GPU); none")
    parser.add_argument("--threads", type=positive, default=None, help="threads of each contestant (default: the "
                                                                       "physical cores)")
    parser.add_argument("--isa", default="native", metavar="NAME",
                        help="vector instructions that everybody is held to: native (default: those of the processor) "
                             "or avx2")
    parser.add_argument("--repeats", type=positive, default=None,
                        help="rounds (default: 7); training gets up to three times as many where figures vary")
    parser.add_argument("--seconds", type=positive_number, default=None,
                        help="time of one contestant's turn (default: 0.5; for ops a fifth of that)")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for bench.json and the pictures "
                                                                    "(default: the current one)")


def run(arguments):
    from minicnn.bench import measure, plots, report

    options = choose(arguments)
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out: {arguments.out} is not a folder")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        results = measure.Bench(options, progress.show).run()
    summary = report.summarize(results, options)
    print(report.text(summary))
    report.write_json(summary, arguments.out / "bench.json")
    written = [arguments.out / "bench.json", *plots.write(summary, arguments.out)]
    print(f"\nwritten: {', '.join(map(str, written))}")
    return 1 if results.failures else 0


def choose(arguments):
    """The options of the measurement; ``ValueError`` for words that are not known."""
    from minicnn.bench import contestants, instructions, machine, works
    from minicnn.bench.measure import Options

    sections = known("only", arguments.only, SECTIONS) or (QUICK_SECTIONS if arguments.quick else SECTIONS)
    networks = known("networks", arguments.networks, works.NETWORKS) or tuple(works.NETWORKS)
    peers = arguments.peers[0] if arguments.peers in (["all"], ["none"]) else arguments.peers
    cores = machine.core_cpus()
    threads = arguments.threads or len(cores or range(machine.usable_cpus()))
    if threads > machine.usable_cpus():
        raise ValueError(f"--threads: this process may use {machine.usable_cpus()} CPUs, got {threads}")
    known("isa", [arguments.isa], instructions.CHOICES)
    instructions.check(arguments.isa)
    quick = arguments.quick
    backends = contestants.choose_backends(arguments.backends)
    batches = (32, 128, 512, 4096) if "cuda" in backends else (32, 128, 512)
    return Options(
        backends=backends, peers=contestants.choose_peers(peers, backends),
        threads=threads, sections=tuple(sections), networks=tuple(networks),
        batches=tuple(arguments.batch or ((32,) if quick else batches)),
        repeats=arguments.repeats or (3 if quick else 7), seconds=arguments.seconds or (0.1 if quick else 0.5),
        cold=not quick, match=arguments.match, few=quick, isa=arguments.isa)


def known(option, given, names):
    """Check words against the known ones; None stays None."""
    for word in given or []:
        if word not in names:
            raise ValueError(f"--{option}: unknown name {word!r}; choose from {', '.join(names)}")
    return given


def words(text):
    """Words between commas, for ``type=`` of an option."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected words with commas between them, got {text!r}")
    return list(dict.fromkeys(found))


def sizes(text):
    """Positive integers between commas, for ``type=`` of an option."""
    return [positive(word) for word in words(text)]


class Progress:
    """On a terminal, one line that says what is being done."""

    def show(self, text):
        """Replace the line."""
        import sys
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.show("")
