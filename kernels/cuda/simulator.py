"""Two repairs to Numba's CUDA simulator, made when it is used.

The simulator runs a block as one Python thread for each GPU thread. Its main thread finds out whether all of them have
come to a barrier by asking them in a loop, which takes most of the time; here the last thread to come wakes the
others. And its ``cuda.shared.array`` may give two threads that come at once an array each, so that they do not share.
"""

import sys
import threading

import numpy as np
from numba.cuda.simulator import kernel, kernelapi


def improve():
    """Put the functions below in the place of the simulator's own."""
    kernelapi.FakeCUDAShared.array = shared_array
    kernel.BlockThread.syncthreads = syncthreads
    kernel.BlockManager.run = run_block


def barrier():
    """``cuda.syncthreads``, for functions in another module than the kernel's, which cannot reach that name."""
    threading.current_thread().syncthreads()


_allocation = threading.Lock()


def shared_array(self, shape, dtype):
    """One array for each place in the source that asks for one, as in the simulator."""
    caller = sys._getframe(1)
    with _allocation:
        return self._allocations.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype))


def syncthreads(self):
    """Wait until every thread of the block that has not ended is here."""
    block = self._manager
    with block.change:
        block.waiting += 1
        now = block.passed
        _release(block)
        while block.passed == now and block.error is None:
            block.change.wait()
        if block.error is not None:
            raise SystemExit  # another thread has failed: this one ends without a word


def _release(block):
    if block.waiting and block.waiting == block.running:
        block.waiting = 0
        block.passed += 1
        block.change.notify_all()


def run_block(self, place, *arguments):
    """Run all threads of the block at ``place`` of the grid; the first error in one of them is raised."""
    self.change = threading.Condition()
    self.waiting, self.passed, self.error = 0, 0, None
    threads = [kernel.BlockThread(lambda: _run_thread(self, arguments), self, place, index, self._debug)
               for index in np.ndindex(*self._block_dim)]
    self.running = len(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if self.error is not None:
        raise self.error


def _run_thread(block, arguments):
    try:
        block._f(*arguments)
    except Exception as error:
        with block.change:
            block.error = block.error or error
            block.change.notify_all()
    finally:
        with block.change:
            block.running -= 1
            _release(block)
