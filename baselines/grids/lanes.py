"""Eight complex numbers as one value inside compiled loops: a SIMD register of real, one of imaginary parts.

    z = load(psi, i)              psi[i] ... psi[i + 7], complex128, in an order of its own
    store(psi, i, z * w - z)      the arithmetic of complex numbers, lane by lane
    load_reversed(psi, i)         the same eight, of psi[i + 7] ... psi[i]
    columns = load_lines(...)     eight lines of an array, turned so that a lane is a line

LLVM splits the registers where a machine has shorter ones. Compilers find this form by themselves only as
long as they can prove that rows of one buffer do not overlap, which a recurrence from row to row denies them.
Indices are not checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
import numba.core.cgutils
import numba.core.types
import numba.extending
from llvmlite import ir  # type: ignore[import-untyped]

from baselines.compiling import compiled

LANES = 8
# complex numbers of a line that `load_lines` turns at a time
TURNED = 4

_REGISTER = ir.VectorType(ir.DoubleType(), LANES)
_PAIR = ir.LiteralStructType([_REGISTER, _REGISTER])
_MASK = ir.VectorType(ir.IntType(32), LANES)
# least alignment of a register in memory (bytes): that of a float64
_ALIGNED = 8

# numba has hints for its users, not for what extends it
_extending: Any = numba.extending
types: Any = numba.core.types
cgutils: Any = numba.core.cgutils

Function = TypeVar("Function", bound=Callable[..., Any])


def swept(function: Function, *, parallel: bool = False) -> Function:
    """The function compiled for speed: sums may be taken in another order."""
    return compiled(function, parallel=parallel, fastmath=True)


def inlined(function: Function) -> Function:
    """The function compiled into its callers: registers stay where they are."""
    return compiled(function, fastmath=True, inline=True)


def _builder(function: Callable[..., Any]) -> Any:
    """The function as one that builds code inside compiled loops."""
    return _extending.intrinsic(function)


class LanesType(types.Type):  # type: ignore[misc]
    """The type of eight complex numbers."""

    def __init__(self) -> None:
        super().__init__(name="ComplexLanes8")


lanes_type = LanesType()


class _LanesModel(_extending.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _PAIR)


_extending.register_model(LanesType)(_LanesModel)


def _pair(builder: Any, real: Any, imaginary: Any) -> Any:
    pair = builder.insert_value(ir.Constant(_PAIR, ir.Undefined), real, 0)
    return builder.insert_value(pair, imaginary, 1)


def _parts(builder: Any, pair: Any) -> tuple[Any, Any]:
    return builder.extract_value(pair, 0), builder.extract_value(pair, 1)


def _shuffle(builder: Any, first: Any, second: Any, mask: Sequence[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(_MASK, list(mask)))


def _splat(builder: Any, number: Any) -> Any:
    empty = ir.Constant(_REGISTER, ir.Undefined)
    single = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, single, empty, [0] * LANES)


class _Memory:
    """Registers of an array, counted in its elements."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any) -> None:
        self.builder = builder
        self.data = context.make_array(array_type)(context, builder, array).data

    def _pointer(self, index: Any, register: int) -> Any:
        start = self.builder.bitcast(self.builder.gep(self.data, [index]), ir.DoubleType().as_pointer())
        place = self.builder.gep(start, [ir.Constant(ir.IntType(64), register * LANES)])
        return self.builder.bitcast(place, _REGISTER.as_pointer())

    def load(self, index: Any, register: int = 0) -> Any:
        value = self.builder.load(self._pointer(index, register))
        value.align = _ALIGNED
        return value

    def store(self, value: Any, index: Any, register: int = 0) -> None:
        self.builder.store(value, self._pointer(index, register)).align = _ALIGNED


# of two registers, the even and the odd places in turn: (re, im) pairs <-> real and imaginary parts
_EVEN = [place for i in range(0, LANES, 2) for place in (i, LANES + i)]
_ODD = [place + 1 for place in _EVEN]
# the same where the lanes are reversed: in both registers of memory, and in both of parts
_EVEN_REVERSED, _ODD_REVERSED = _EVEN[::-1], _ODD[::-1]
_FROM_REVERSED = [[place ^ (LANES - 1) for place in mask] for mask in (_EVEN, _ODD)]
# of the four quarters of each, the first and third, or the second and fourth
_FIRST = [0, 1, 4, 5, 8, 9, 12, 13]
_SECOND = [2, 3, 6, 7, 10, 11, 14, 15]


@_builder
def load(typing: Any, array: Any, index: Any) -> Any:
    """Eight neighbours of a complex128 array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        low, high = memory.load(args[1], 0), memory.load(args[1], 1)
        return _pair(builder, _shuffle(builder, low, high, _EVEN), _shuffle(builder, low, high, _ODD))

    return lanes_type(array, types.intp), generate


@_builder
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write eight neighbours of a complex128 array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        real, imaginary = _parts(builder, args[2])
        memory.store(_shuffle(builder, real, imaginary, _EVEN), args[1], 0)
        memory.store(_shuffle(builder, real, imaginary, _ODD), args[1], 1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), generate


@_builder
def load_reversed(typing: Any, array: Any, index: Any) -> Any:
    """Eight neighbours of a complex128 array: the last where `load` has the first, and so on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        both = memory.load(args[1], 0), memory.load(args[1], 1)
        return _pair(
            builder, _shuffle(builder, *both, _EVEN_REVERSED), _shuffle(builder, *both, _ODD_REVERSED)
        )

    return lanes_type(array, types.intp), generate


@_builder
def store_reversed(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """The reverse of `load_reversed`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        both = _parts(builder, args[2])
        for register, mask in enumerate(_FROM_REVERSED):
            memory.store(_shuffle(builder, *both, mask), args[1], register)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), generate


@_builder
def load_row(typing: Any, buffer: Any, index: Any) -> Any:
    """From a float64 buffer: eight real parts, then eight imaginary parts."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        return _pair(builder, memory.load(args[1], 0), memory.load(args[1], 1))

    return lanes_type(buffer, types.intp), generate


@_builder
def store_row(typing: Any, buffer: Any, index: Any, value: Any) -> Any:
    """The reverse of `load_row`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        for register, part in enumerate(_parts(builder, args[2])):
            memory.store(part, args[1], register)
        return context.get_dummy_value()

    return types.void(buffer, types.intp, lanes_type), generate


@_builder
def everywhere(typing: Any, number: Any) -> Any:
    """The same complex number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        z = context.make_complex(builder, types.complex128, args[0])
        return _pair(builder, _splat(builder, z.real), _splat(builder, z.imag))

    return lanes_type(types.complex128), generate


def _turned(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """The transpose of four registers of four quarters each."""
    for _ in range(2):
        mixed = [_shuffle(builder, rows[i], rows[i + 1], mask) for mask in (_FIRST, _SECOND) for i in (0, 2)]
        rows = mixed
    return list(rows)


@_builder
def load_lines(typing: Any, array: Any, index: Any, stride: Any) -> Any:
    """Four neighbours from each of eight lines `stride` apart: four values, whose lanes are the lines."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        place, parts = args[1], ([], [])  # type: tuple[Any, tuple[list[Any], list[Any]]]
        for _ in range(TURNED):
            following = builder.add(place, args[2])
            first, second = memory.load(place), memory.load(following)
            for part, mask in zip(parts, (_EVEN, _ODD), strict=True):
                part.append(_shuffle(builder, first, second, mask))
            place = builder.add(following, args[2])
        real, imaginary = _turned(builder, parts[0]), _turned(builder, parts[1])
        pairs = [_pair(builder, *both) for both in zip(real, imaginary, strict=True)]
        return context.make_tuple(builder, signature.return_type, pairs)

    return types.UniTuple(lanes_type, TURNED)(array, types.intp, types.intp), generate


@_builder
def store_lines(typing: Any, array: Any, index: Any, stride: Any, columns: Any) -> Any:
    """The reverse of `load_lines`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _Memory(context, builder, signature.args[0], args[0])
        pairs = [_parts(builder, builder.extract_value(args[3], k)) for k in range(TURNED)]
        real, imaginary = (_turned(builder, [pair[part] for pair in pairs]) for part in (0, 1))
        place = args[1]
        for both in zip(real, imaginary, strict=True):
            for mask in (_EVEN, _ODD):
                memory.store(_shuffle(builder, *both, mask), place)
                place = builder.add(place, args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.UniTuple(lanes_type, TURNED)), generate


@_builder
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the line of cache of an element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        array_data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(array_data, [args[1]]), byte)
        builder.call(function, [place, *(ir.Constant(number, n) for n in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _added(builder: Any, a: Any, b: Any) -> Any:
    return [builder.fadd(x, y, flags=("fast",)) for x, y in zip(a, b, strict=True)]


def _subtracted(builder: Any, a: Any, b: Any) -> Any:
    return [builder.fsub(x, y, flags=("fast",)) for x, y in zip(a, b, strict=True)]


def _multiplied(builder: Any, a: Any, b: Any) -> Any:
    def product(x: Any, y: Any) -> Any:
        return builder.fmul(x, y, flags=("fast",))

    real = builder.fsub(product(a[0], b[0]), product(a[1], b[1]), flags=("fast",))
    imaginary = builder.fadd(product(a[0], b[1]), product(a[1], b[0]), flags=("fast",))
    return [real, imaginary]


def _define(operation: Any, formula: Callable[[Any, Any, Any], Any]) -> None:
    @_builder
    def apply(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _pair(builder, *formula(builder, _parts(builder, args[0]), _parts(builder, args[1])))

        return lanes_type(lanes_type, lanes_type), generate

    def both(a: Any, b: Any) -> Any:
        return apply(a, b)

    def of_lanes(a: Any, b: Any) -> Any:
        return both if isinstance(a, LanesType) and isinstance(b, LanesType) else None

    _extending.overload(operation)(of_lanes)


_define(operator.add, _added)
_define(operator.sub, _subtracted)
_define(operator.mul, _multiplied)
