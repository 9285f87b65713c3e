"""Write skeleton files to fill in, one for each lesson: dense layer, relu, loss, convolution, pooling, and so on.

Each holds the formulas and shapes of its functions, without their bodies. "minicnn gradcheck DIR/conv2d.py" grades one.
Files that exist already are never overwritten.

Examples:
  minicnn exercises homework
  minicnn gradcheck homework/dense.py
  minicnn train --backend homework/my_backend.py
"""

from __future__ import annotations

import os


def add_arguments(parser):
    parser.add_argument("folder", metavar="DIR", help="where to write the files; made if it is not there")


def run(arguments):
    """Write the files and say what to do next."""
    from minicnn import exercises

    written, kept = exercises.write(arguments.folder)
    for name in written:
        print(f"wrote {os.path.join(arguments.folder, name)}")
    for name in kept:
        print(f"left alone, it exists already: {os.path.join(arguments.folder, name)}")
    print(f"Begin with {os.path.join(arguments.folder, 'README.md')}; check a lesson with: minicnn gradcheck "
          f"{os.path.join(arguments.folder, 'dense.py')}")
    return 0
