"""Starting all workers of a kernel from compiled code.

Numba offers ``prange`` for that. It does more than is needed here, an analysis of the loop among other things, and
takes 1 to 4 s of compiling for every kernel and type. So ``on_all`` calls the same function of Numba's run-time library
that a compiled ``prange`` ends up calling, ``numba_parallel_for``, which hands work to the threads of Numba's threading
layer (OpenMP or its own):

    void numba_parallel_for(void *function, char **arrays, size_t *sizes, size_t *steps, void *data,
                            size_t inner_dimensions, size_t array_count, int num_threads)

For every r below sizes[0] one of the threads calls ``function(arrays + r steps, sizes, steps, data)``, with sizes[0] as
the number of rows that it shall do. Here ``arrays`` is one array that holds the numbers of the workers. On the way it
sets how many threads the caller's own compiled functions use, so that number is put back.

Workers are not equally fast: another program takes some of one's processor away, or a thread wakes up late. So where
the work is more than a pass over memory, it is cut into tasks. Every worker has a share of them, the same in every
step, so that what it reads is mostly what it wrote; when that is done it helps the others with what is left of theirs.
A counter for each share tells which task is next. Who does a task makes no difference to its result.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .parts import part

INT64, INT = ir.IntType(64), ir.IntType(32)  # the latter is C's int
BYTES = ir.IntType(8).as_pointer()

#: Counters that different workers change stand so many numbers apart: each has a cache line for itself.
APART = 8


@intrinsic
def on_all(typing, work, workers, arguments):
    """Call ``work(worker, workers, *arguments)`` for every worker in [0, workers), at the same time.

    A single worker is called right here, without any thread.
    """
    signature = types.void(work, types.intp, arguments)
    work_types = (types.intp, types.intp, *arguments.types)
    typing.resolve_function_type(work, work_types, {})
    compiled = work.dispatcher.overloads[work_types]

    def codegen(context, builder, signature, args):
        context.add_linking_libs([compiled.library])
        function = _row_function(context, builder.module, compiled, arguments)
        data = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, args[1:]))
        numbers = builder.alloca(INT64, args[1])  # here: at the kernel's beginning that number need not be known
        with cgutils.for_range(builder, args[1]) as loop:
            builder.store(loop.index, builder.gep(numbers, [loop.index]))
        sizes, steps, arrays = (cgutils.alloca_once(builder, kind) for kind in (INT64, INT64, BYTES))
        builder.store(args[1], sizes)
        builder.store(ir.Constant(INT64, 8), steps)
        builder.store(builder.bitcast(numbers, BYTES), arrays)

        def from_numba(name, result, *kinds):
            return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), name)

        start = from_numba("numba_parallel_for", ir.VoidType(), *[BYTES] * 5, *[INT64] * 3)
        alone = builder.icmp_signed("==", args[1], ir.Constant(INT64, 1))
        with builder.if_else(alone) as (one, many):
            with one:
                builder.call(function, [arrays, sizes, steps, builder.bitcast(data, BYTES)])
            with many:
                pointers = [builder.bitcast(pointer, BYTES) for pointer in (function, arrays, sizes, steps, data)]
                before = builder.call(from_numba("get_num_threads", INT), [])
                builder.call(start, [*pointers, ir.Constant(INT64, 0), ir.Constant(INT64, 1), args[1]])
                builder.call(from_numba("set_num_threads", ir.VoidType(), INT), [before])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def none_taken(typing, workers):
    """For each share a counter of the tasks that were taken from it, which none were yet.

    They are part of the kernel that calls this and live as long as its call.
    """
    def codegen(context, builder, signature, args):
        size = builder.mul(args[0], ir.Constant(INT64, APART))
        counters = builder.alloca(INT64, size)
        with cgutils.for_range(builder, size) as loop:
            builder.store(ir.Constant(INT64, 0), builder.gep(counters, [loop.index]))
        return counters

    return types.CPointer(types.int64)(types.intp), codegen


@intrinsic
def take(typing, taken, share):
    """The number, within its share, of the next task that nobody has taken; behind the last one, numbers go on.

    The counter is read and changed in one (atomic) instruction, so that no two workers get the same.
    """
    def codegen(context, builder, signature, args):
        counter = builder.gep(args[0], [builder.mul(args[1], ir.Constant(INT64, APART))])
        return builder.atomic_rmw("add", counter, ir.Constant(INT64, 1), "monotonic")

    return types.intp(types.CPointer(types.int64), types.intp), codegen


def _row_function(context, module, compiled, arguments):
    """The function that the threads call: read the number of the worker, unpack the arguments, and go."""
    kind = ir.FunctionType(ir.VoidType(), [BYTES.as_pointer(), INT64.as_pointer(), INT64.as_pointer(), BYTES])
    function = ir.Function(module, kind, module.get_unique_name("worker_of_" + compiled.fndesc.llvm_func_name))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    arrays, sizes, _, data = function.args
    kind = ir.LiteralStructType([INT64, context.get_value_type(arguments)])
    both = builder.load(builder.bitcast(data, kind.as_pointer()))
    workers, unpacked = builder.extract_value(both, 0), [builder.extract_value(both, [1, i])
                                                         for i in range(len(arguments.types))]
    numbers = builder.bitcast(builder.load(arrays), INT64.as_pointer())
    with cgutils.for_range(builder, builder.load(sizes)) as loop:
        worker = builder.load(builder.gep(numbers, [loop.index]))
        context.call_internal_no_propagate(builder, compiled.fndesc, compiled.signature, [worker, workers, *unpacked])
    builder.ret_void()
    return function


@part
def next_task(worker, workers, tasks, taken):
    """A task below ``tasks`` that nobody has taken, of the worker's own share while it has any; -1 if none is left.

    ``taken`` is what ``none_taken`` gave.
    """
    for turn in range(workers):
        share = (worker + turn) % workers
        task = tasks * share // workers + take(taken, share)
        if task < tasks * (share + 1) // workers:
            return task
    return -1


@part
def extremes_of(workers, numbers, found):
    """The smallest and the largest of some integers, to the first row of ``found``, which has a row for each worker."""
    on_all(_extremes_share, workers, (numbers, found))
    for worker in range(1, workers):
        found[0, 0], found[0, 1] = min(found[0, 0], found[worker, 0]), max(found[0, 1], found[worker, 1])


@part
def _extremes_share(worker, workers, numbers, found):
    lowest = highest = numbers[0]
    for number in share_of(numbers, worker, workers):
        lowest, highest = min(lowest, number), max(highest, number)
    found[worker, 0], found[worker, 1] = lowest, highest


@part
def all_below(workers, numbers, limit, found):
    """Whether all of some integers, if there are any, are below the limit, and none below 0; ``found`` as above.

    A kernel that reads numbers anyway can look at them like this before it begins: each worker has its share in its
    cache then, and Python need not start another kernel.
    """
    if len(numbers) == 0:
        return True
    extremes_of(workers, numbers, found)
    return found[0, 0] >= 0 and found[0, 1] < limit


@part(inline="always")
def share_of(vector, worker, workers):
    """One worker's part of a vector. (Loops from 0 to its length are vectorised, those over part of a range not.)

    It becomes part of its callers: where no references are counted, a compiled function cannot return an array.
    """
    return vector[len(vector) * worker // workers:len(vector) * (worker + 1) // workers]
