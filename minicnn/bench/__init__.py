"""``minicnn bench``: how fast is MiniCNN on this machine, and how fast are others on the same work?

    works.py        what is measured: operations and networks, with their arithmetic and memory traffic
    contestants/    who takes part: MiniCNN's back-ends, PyTorch, Keras, JAX, and the machine's own limits
    worker.py       a contestant's process: reads requests, answers, a line of JSON each
    process.py      the other end of it
    agreement.py    did everybody compute the same?
    measure.py      rounds in which the contestants take turns
    machine.py      the machine, and how busy it is besides
    statistics.py   median, geometric mean, spread
    goals.py        what MiniCNN is to reach
    report.py       tables and bench.json
    plots.py        bar chart and roofline
"""
