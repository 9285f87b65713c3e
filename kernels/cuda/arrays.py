"""Arrays that live on the device, and the functions of ``kernels.ARRAYS`` for them.

An array is a flat vector in device memory and a shape: kernels see the vector and compute indices themselves. Slices
along the first axis and reshapes are views. There is no arithmetic here: that is what the back-end's operations are.

Device memory is expensive to ask for (the device may have to finish its work first), so what is no longer held by
anybody is kept and handed out again: after the first step of a training, no step allocates anything. This is safe
because the device does all work in the order in which it was launched.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import operator

import numpy as np

from . import device
from .device import cuda, launch

#: Types that an array may have: numbers, class numbers, positions in a window, masks.
DTYPES = tuple(np.dtype(dtype) for dtype in (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_))

#: Kernels count elements in 32 bits.
MAXIMUM_SIZE = 2**31 - 1

THREADS = 128


class DeviceArray:
    """A C-contiguous array in device memory. Made by ``asarray``, ``empty``, ``zeros`` and the operations.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    size : int
    flat : numba's device array, one-dimensional
        The elements in row-major order.
    address : int
        Where they begin in device memory.
    words : tuple of int
        How a kernel gets them (``launching.py``).
    bounds : (int, int) or None
        For integers: numbers between which all elements lie, where they are known. Labels are checked with them, so
        that nothing has to be read back from the device.
    """

    __slots__ = ("_memory", "_offset", "address", "bounds", "dtype", "shape", "size", "words")

    def __init__(self, memory, shape, dtype, offset=0, bounds=None):
        self._memory = memory  # held as long as any view of it is
        self._offset = offset
        self.shape, self.dtype, self.bounds = shape, dtype, bounds
        self.size, itemsize = math.prod(shape), dtype.itemsize
        self.address = memory.address + offset * itemsize
        self.words = 0, 0, self.size, itemsize, self.address, self.size, itemsize

    @property
    def flat(self):
        whole = _pieces[self._memory.number]
        return whole if self.size == whole.size else whole[self._offset:self._offset + self.size]

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    @property
    def is_aligned(self):
        """Whether the first element stands where ``load_vector`` may read."""
        return self._offset * self.dtype.itemsize % device.VECTOR_BYTES == 0

    def __len__(self):
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def reshape(self, *shape):
        """The same elements in another shape, as a view; one size may be -1."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = shape[0]
        shape = [operator.index(size) for size in shape]
        if shape.count(-1) == 1:
            known = -math.prod(shape)
            shape[shape.index(-1)] = self.size // known if known else 0
        if math.prod(shape) != self.size or min(shape, default=0) < 0:
            raise ValueError(f"reshape: an array of shape {self.shape} cannot take the shape {tuple(shape)}")
        return DeviceArray(self._memory, tuple(shape), self.dtype, self._offset, self.bounds)

    def __getitem__(self, rows):
        if not isinstance(rows, slice) or not self.shape:
            raise TypeError(f"a device array can only be sliced along its first axis, as in x[0:32], got {rows!r}; "
                            "for anything else take it to the host with to_numpy")
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"a slice of a device array has step 1, got {step}")
        count, width = max(stop - start, 0), math.prod(self.shape[1:])
        return DeviceArray(self._memory, (count, *self.shape[1:]), self.dtype, self._offset + start * width,
                           self.bounds)

    def __array__(self, *_, **__):
        raise TypeError("this array lives on the device; kernels.cuda.to_numpy(array) copies it to the host")

    def __repr__(self):
        return f"<DeviceArray {self.dtype} {self.shape}>"


class Scalar:
    """A number that the device has computed, or is still about to: it is fetched when somebody looks at it.

    The sum of the elements of ``terms``, times ``factor``. ``float(loss)`` waits for the device; passing the object
    on does not.
    """

    __slots__ = ("_factor", "_terms", "_value")

    def __init__(self, terms, factor=1):
        self._terms, self._factor, self._value = terms, factor, None

    def _fetch(self):
        if self._value is None:
            terms = to_numpy(self._terms)
            self._value = (terms.sum() * self._factor).item()
            self._terms = None
        return self._value

    def __float__(self):
        return float(self._fetch())

    def __int__(self):
        return int(self._fetch())

    __index__ = __int__

    def __repr__(self):
        return repr(self._fetch())

    def __format__(self, specification):
        return format(self._fetch(), specification)

    def __bool__(self):
        return bool(self._fetch())

    def __hash__(self):
        return hash(self._fetch())


def _scalar_operator(name):
    function = getattr(operator, name)

    def left(self, other):
        return function(self._fetch(), other._fetch() if isinstance(other, Scalar) else other)

    def right(self, other):
        return function(other, self._fetch())

    return left, right


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Scalar, f"__{_name}__", _scalar_operator(_name)[0])
for _name in ("add", "sub", "mul", "truediv", "pow"):
    _left, _right = _scalar_operator(_name)
    setattr(Scalar, f"__{_name}__", _left)
    setattr(Scalar, f"__r{_name}__", _right)
for _name in ("neg", "abs"):
    setattr(Scalar, f"__{_name}__", functools.partialmethod(lambda self, function: function(self._fetch()),
                                                            getattr(operator, _name)))


# ---- memory -----------------------------------------------------------------------------------------------------

class _Memory:
    """Holds a piece of device memory; when the last array that uses it is gone, the piece is free to be used again.

    It knows the piece only by number. Numba gives memory back when its own array dies, and where a whole circle of
    objects dies at once, an array in it dies before ``__del__`` is called, which would then keep a dead one.
    """

    __slots__ = ("address", "key", "number")

    def __init__(self, number, key):
        self.number, self.key, self.address = number, key, device.address_of(_pieces[number])

    def __del__(self):
        _free.setdefault(self.key, []).append(self.number)


#: Every piece by its number, as numba's array; and the numbers of those that nobody holds, by size and type.
_pieces, _free = {}, {}

_numbers = itertools.count()


def free_memory():
    """Give the memory that no array uses back to the device; returns how many bytes that were."""
    count = 0
    while _free:
        (size, dtype), numbers = _free.popitem()
        count += len(numbers) * max(size, 1) * np.dtype(dtype).itemsize
        for number in numbers:
            del _pieces[number]
    return count


def empty(shape, dtype):
    """A new array whose numbers are not set."""
    device.require_device()
    shape = (operator.index(shape),) if not isinstance(shape, (tuple, list)) else tuple(map(operator.index, shape))
    dtype = np.dtype(dtype)
    size = math.prod(shape)
    if dtype not in DTYPES:
        raise TypeError(f"dtype: expected one of {', '.join(map(str, DTYPES))}, got {dtype}")
    if min(shape, default=0) < 0 or size > MAXIMUM_SIZE:
        raise ValueError(f"shape: expected no negative size and at most {MAXIMUM_SIZE} elements, got {shape}")
    key = (size, dtype.char)
    numbers = _free.get(key)
    return DeviceArray(_Memory(numbers.pop() if numbers else _allocate(size, dtype), key), shape, dtype)


def _allocate(size, dtype):
    number = next(_numbers)
    _pieces[number] = _allocate_piece(size, dtype)
    return number


def _allocate_piece(size, dtype):
    try:
        return device.allocate(size, dtype)
    except Exception as error:
        if "OUT_OF_MEMORY" not in str(error).upper().replace(" ", "_"):
            raise
    gc.collect()
    free_memory()
    try:
        return device.allocate(size, dtype)
    except Exception as error:
        raise MemoryError(f"the device has no room for {size} more elements of {dtype} ({size * dtype.itemsize} "
                          "bytes): a smaller batch needs less") from error


# ---- the functions of kernels.ARRAYS ----------------------------------------------------------------------------

def asarray(host_array):
    """Copy a host array to the device: floats keep their type, integers become int64; a device array is itself.

    Of integers the smallest and largest are noted, since labels and positions must be checked before they are used.
    """
    if isinstance(host_array, DeviceArray):
        return host_array
    host = np.asarray(host_array)
    if host.dtype.kind in "iu":
        host = host.astype(np.int64, copy=False)
    array = empty(host.shape, host.dtype.newbyteorder("="))
    if array.size:
        array.flat.copy_to_device(np.ascontiguousarray(host, array.dtype).reshape(-1))
    if array.dtype == np.int64:
        array.bounds = _extremes(host)
    return array


def to_numpy(array):
    """Copy a device array to the host, after all work launched so far; any other array is NumPy's already."""
    if not isinstance(array, DeviceArray):
        return np.asarray(array)
    host = np.empty(array.size, array.dtype)
    if array.size:
        array.flat.copy_to_host(host)
    return host.reshape(array.shape)


def zeros(shape, dtype):
    """A new array of zeros."""
    array = empty(shape, dtype)
    launch(_fill(), device.blocks_for(array.size, THREADS), THREADS, array, array.dtype.type(0))
    if array.dtype.kind in "iu":
        array.bounds = (0, 0)
    return array


def assign(destination, source):
    """Copy the numbers of ``source``, on the device or on the host, into ``destination``, which may be a view."""
    if tuple(np.shape(source) if not isinstance(source, DeviceArray) else source.shape) != destination.shape:
        raise ValueError(f"assign: source has shape {getattr(source, 'shape', np.shape(source))}, destination "
                         f"{destination.shape}")
    if not isinstance(source, DeviceArray) or source.dtype != destination.dtype:
        source = asarray(np.asarray(to_numpy(source), destination.dtype))
    device.copy(destination, source)
    destination.bounds = source.bounds


def take(array, indices):
    """``array[indices]``: the rows with these numbers, as a new array (a batch of a data set in shuffled order)."""
    indices = asarray(indices)
    lowest, highest = bounds(indices)
    if indices.size and (lowest < 0 or highest >= len(array)):
        raise ValueError(f"indices: expected 0 to {len(array) - 1}, got {lowest} to {highest}")
    rows = empty((*indices.shape, *array.shape[1:]), array.dtype)
    rows.bounds = array.bounds
    launch(_take(), device.blocks_for(rows.size, THREADS), THREADS, array, indices, rows, math.prod(array.shape[1:]))
    return rows


def count_correct(logits, labels):
    """How many rows have their largest logit (the first, on a tie; a NaN is largest) at their label: a ``Scalar``."""
    hits = empty(len(logits), np.int32)
    launch(_correct(), device.blocks_for(len(logits), THREADS), THREADS, logits, labels, hits, logits.shape[1])
    return Scalar(hits)


def is_finite(array):
    """Whether no element is NaN or infinite."""
    found = zeros((1,), np.int32)
    launch(_not_finite(), device.blocks_for(array.size, THREADS), THREADS, array, found)
    return not to_numpy(found)[0]


def update_average(average, value, momentum):
    """Exponential moving average, in place: ``average = momentum * average + (1 - momentum) * value``."""
    T = average.dtype.type
    launch(_update_average(), device.blocks_for(average.size, THREADS), THREADS, average, value, T(momentum),
           T(1.0 - momentum))


def bounds(array):
    """Smallest and largest element of an integer array, or numbers around them; read from the device if not known."""
    if array.bounds is None:
        array.bounds = _extremes(to_numpy(array))
    return array.bounds


def _extremes(host):
    return (int(host.min()), int(host.max())) if host.size else (0, 0)


# ---- kernels ----------------------------------------------------------------------------------------------------

@functools.cache
def _fill():
    @cuda.jit
    def fill(array, value):
        i = cuda.grid(1)
        if i < array.size:
            array[i] = value
    return fill


@functools.cache
def _take():
    @cuda.jit
    def take(array, indices, rows, width):
        i = cuda.grid(1)
        if i < rows.size:
            rows[i] = array[indices[i // width] * width + i % width]
    return take


@functools.cache
def _correct():
    @cuda.jit
    def correct(logits, labels, hits, classes):
        row = cuda.grid(1)
        if row < hits.size:
            best = 0
            largest = logits[row * classes]
            for k in range(1, classes):
                value = logits[row * classes + k]
                if value > largest or (value != value and largest == largest):
                    largest = value
                    best = k
            hits[row] = 1 if best == labels[row] else 0
    return correct


@functools.cache
def _not_finite():
    @cuda.jit
    def not_finite(array, found):
        i = cuda.grid(1)
        if i < array.size and array[i] - array[i] != array[i] - array[i]:  # infinity minus itself is NaN
            found[0] = 1
    return not_finite


@functools.cache
def _update_average():
    @cuda.jit
    def update(average, value, keep, take):
        i = cuda.grid(1)
        if i < average.size:
            average[i] = keep * average[i] + take * value[i]
    return update
