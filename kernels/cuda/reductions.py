"""Sums within a block of threads, as a tree.

Each thread brings one number. In five rounds the first 16 add the numbers of the other 16, then the first 8 those of
the next 8, and so on, until one is left. The order never changes, so the bits do not either; ``atomic.add`` on floats
would be in the order in which the threads happen to arrive.
"""

from .device import barrier, device_function

#: Threads that share a row or a column.
LANES = 32


@device_function
def tree_sum(shared, lane, value):
    """The sum of ``value`` over the ``LANES`` threads of the block, for all of them."""
    shared[lane] = value
    barrier()
    step = LANES // 2
    while step > 0:
        if lane < step:
            shared[lane] += shared[lane + step]
        barrier()
        step //= 2
    total = shared[0]
    barrier()  # nobody writes the next numbers before everybody has read this sum
    return total


@device_function
def tree_maximum(shared, lane, value):
    """The largest ``value`` of the ``LANES`` threads of the block, for all of them."""
    shared[lane] = value
    barrier()
    step = LANES // 2
    while step > 0:
        if lane < step:
            shared[lane] = max(shared[lane], shared[lane + step])
        barrier()
        step //= 2
    largest = shared[0]
    barrier()
    return largest
