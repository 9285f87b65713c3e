"""The other end of a worker: starting it, asking it, keeping it still while others compute."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading

from minicnn.bench import contestants

#: Longest wait for an answer, in seconds: a first compilation on a slow machine takes minutes.
TIMEOUT = 900


class WorkerError(RuntimeError):
    """A worker said that something went wrong, ended, or did not answer in time."""


class Unsupported(WorkerError):
    """The contestant does not offer this work."""


class Worker:
    """A contestant in a process of its own.

    Between two questions the process is *stopped* (SIGSTOP, where the system has it). Every library's threads may then
    wait as they are made to, spinning for a while or sleeping at once, and take nothing from the others.

    Parameters
    ----------
    name : str
        A contestant; see ``contestants.load``.
    threads : int
        How many threads it may use.
    cpus : list of int, optional
        The only CPUs that it may run on.
    environment : dict, optional
        Variables besides those of ``worker_environment``.
    """

    def __init__(self, name, threads, cpus=None, environment=None):
        self.name = name
        self.stopped = False
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        command = [sys.executable, "-m", "minicnn.bench.worker", name, str(threads)]
        if cpus:
            command.append(",".join(map(str, cpus)))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, encoding="utf-8",
            env={**os.environ, **worker_environment(name, threads), **(environment or {})})
        self.answers = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def ask(self, command, timeout=TIMEOUT, **fields):
        """Send a request (see ``worker.py``) and return the answer.

        Raises
        ------
        Unsupported
            When the contestant does not offer the work.
        WorkerError
            For an error in the worker, its end, or no answer in time; the message has the worker's own words.
        """
        self.send(command, **fields)
        return self.receive(command, timeout)

    def send(self, command, **fields):
        """Send a request and do not wait."""
        if self.process.stdin.closed:
            raise WorkerError(f"{self.name}: the process was closed, with status {self.process.returncode}")
        self.resume()
        try:
            self.process.stdin.write(json.dumps({"command": command, **fields}) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError):
            raise WorkerError(f"{self.name}: {self._last_words()}") from None

    def receive(self, command, timeout=TIMEOUT):
        """The answer to the oldest request that has none yet."""
        try:
            line = self.answers.get(timeout=timeout)
        except queue.Empty:
            self.kill()
            raise WorkerError(f"{self.name}: no answer to {command!r} within {timeout} s") from None
        if line is None:
            raise WorkerError(f"{self.name}: {self._last_words()}")
        self.suspend()
        answer = json.loads(line)
        if answer.get("unsupported"):
            raise Unsupported(f"{self.name}: does not offer this")
        if "error" in answer:
            where = answer.get("traceback", "").strip().splitlines()[-3:-1]
            raise WorkerError(f"{self.name}: {answer['kind']}: {answer['error']}"
                              + (f" ({where[0].strip()})" if where else ""))
        return answer

    def suspend(self):
        """Keep the process still."""
        if hasattr(signal, "SIGSTOP") and self.process.poll() is None and not self.stopped:
            os.kill(self.process.pid, signal.SIGSTOP)
            self.stopped = True

    def resume(self):
        """Let the process run on."""
        if self.stopped:
            os.kill(self.process.pid, signal.SIGCONT)
            self.stopped = False

    def close(self):
        """End the process: politely, and if that does not help by force."""
        if self.process.poll() is None:
            try:
                self.send("close")
                self.process.stdin.close()
                self.process.wait(timeout=10)
            except (WorkerError, OSError, subprocess.TimeoutExpired):
                self.kill()
        self._release()

    def kill(self):
        """End the process by force."""
        self.process.kill()  # reaches a stopped process too
        self.process.wait()
        self.stopped = False

    def _last_words(self):
        self.process.wait(timeout=10)
        self.log.seek(0)
        words = self.log.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with status {self.process.returncode}" + (f": {words[-1]}" if words else "")

    def _release(self):
        self.reader.join(timeout=10)
        for stream in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):  # a request that was never read
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def worker_environment(name, threads):
    """Variables that tell every library the number of threads, and keep all on the CPU that are not to use a GPU.

    How threads wait is left as each library has it: see ``Worker``.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
             "NUMBA_NUM_THREADS", "MINICNN_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    hidden = {} if contestants.uses_gpu(name) else {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    return {**dict.fromkeys(names, str(threads)), **hidden, "PYTHONPATH": path, "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "2"}
