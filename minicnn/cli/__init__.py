"""The command ``minicnn``.

Each command is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit
status; its docstring is the command's help. Only the module of the command that is called is imported.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
import textwrap
import traceback

import kernels
from minicnn._version import __version__

#: Commands in the order in which the help shows them.
COMMANDS = {
    "train": "train a network and write its weights, figures and pictures to runs/",
    "evaluate": "measure a trained network on a data set or a folder of pictures",
    "predict": "say what is in pictures",
    "explain": "show what a network sees in a picture: maps, filters and features on one sheet",
    "animate": "show a layer at work on a picture, as a moving picture",
    "gradcheck": "check the gradients of every back-end, or of a file of your own, and name the mistakes",
    "exercises": "write skeleton files to fill in, one per lesson; gradcheck grades them",
    "bench": "measure speed, start and memory on this machine, beside PyTorch, Keras and JAX",
    "data": "list the data sets: what is there, what is missing, how large; download them",
    "doctor": "check this machine: libraries, threads, vector width, caches, GPU",
}

#: What a user can mend. Anything else is a fault of MiniCNN's, and its traceback is shown.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError, kernels.BackendUnavailable)


def main(argv=None):
    """Run ``minicnn`` with these arguments; returns 0, or 2 after a message about what the user can mend."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"minicnn {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        print(f"minicnn: error: there is no command {argv[0]!r}{f'; is {near[0]!r} meant?' if near else ''} Commands: "
              f"{', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run_command(argv[0], argv[1:])


def run_command(name, argv):
    """Run one command; user errors end in one message and status 2, Ctrl-C in status 130."""
    command = importlib.import_module(f"minicnn.cli.{name}")
    parser = Parser(prog=f"minicnn {name}", description=command.__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", default=False,
                        help="on an error, show where in the code it arose")
    arguments = parser.parse_args(argv)
    try:
        return command.run(arguments) or 0
    except KeyboardInterrupt:
        print(f"\nminicnn {name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, head for instance, has seen enough
        sys.stderr.close()
        return 141
    except USER_ERRORS as error:
        if arguments.traceback:
            traceback.print_exc()
        print(f"minicnn {name}: error: {error}", file=sys.stderr)
        return 2


def overview():
    """What ``minicnn --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return textwrap.dedent("""\
        usage: minicnn COMMAND [options]

        Convolutional networks from scratch, in code to be read.

        commands:
        {}

        minicnn COMMAND --help shows the options of a command, with examples.""").format("\n".join(lines))


class Parser(argparse.ArgumentParser):
    """argparse, with the nearest good option suggested for a bad one."""

    def parse_args(self, args=None, namespace=None):
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            messages = []
            for word in unknown:
                near = difflib.get_close_matches(word.split("=")[0], options, n=1) if word.startswith("-") else []
                messages.append(f"unknown option {word}" + (f" (is {near[0]} meant?)" if near else "")
                                if word.startswith("-") else f"unexpected argument {word!r}")
            self.error("; ".join(messages))
        return parsed


def positive(text):
    """A positive integer, for ``type=`` of an option."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return value


def at_least_zero(text):
    """An integer of at least 0, for ``type=`` of an option."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, got {text!r}")
    return value


def positive_number(text):
    """A positive, finite number, for ``type=`` of an option."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value
