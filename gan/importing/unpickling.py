"""Reads the authors' network pickles as data: nothing that a file names is imported, called or executed.

A pickle is a program that may name any function of any module. Here each name stands for a class of this file that only
remembers what it was given; a name that is not in the list, or an instruction that such files do not need, ends the
reading. The source code that the authors' pickles carry is never looked at.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from gan.importing.refusal import ForeignFileError, read_limited

__all__ = ["StoredNetwork", "read_networks"]

MOST_INSTRUCTIONS = 20_000
"""Their largest file has some 5,000; nesting that deep cannot exhaust the stack."""
MOST_AXES = 8
_INSTRUCTION_NAMES = """
    PROTO FRAME STOP MARK POP POP_MARK GLOBAL STACK_GLOBAL NEWOBJ BUILD REDUCE EMPTY_DICT EMPTY_LIST EMPTY_TUPLE
    TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE
    NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES
    SHORT_BINBYTES BINBYTES8 BYTEARRAY8 BINSTRING SHORT_BINSTRING
"""
INSTRUCTIONS = frozenset(_INSTRUCTION_NAMES.split())
"""Instructions that protocols 2 to 5 use for networks; those that name things in other ways are not among them."""
NUMBER = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
"""Element types: numbers, never objects, records or text."""


class _Remembered:
    """Something that a pickle makes, as data; `BUILD` on it, or on its class, changes nothing that is shared."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"{type(self).__name__} takes no state")


class StoredNetwork(_Remembered):
    """One network: the dictionary that it was saved as."""

    __slots__ = ("state",)

    def __setstate__(self, state: object) -> None:
        if type(state) is not dict:
            raise pickle.UnpicklingError("a network's state is no dictionary")
        self.state: dict[Any, Any] = state


class _ArrayType(_Remembered):
    """numpy.ndarray, as an argument."""

    __slots__ = ()


class _Text(_Remembered):
    """Bytes that protocol 2 writes as text; decoded when they are needed, so that repeating them costs no memory."""

    __slots__ = ("text",)

    def __init__(self, text: object, encoding: object) -> None:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError(f"text is encoded as {encoding!r}, wanted latin1")
        self.text = text


class _Kind(_Remembered):
    """A numpy dtype."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not NUMBER.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of {code!r} are refused; networks hold numbers")
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "=", "|")):
            raise pickle.UnpicklingError("an element type is damaged")
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("arrays of records are refused; networks hold numbers")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)


class _Array(_Remembered):
    """A numpy array as protocols 2 to 4 write it."""

    __slots__ = ("column_first", "kind", "raw", "shape")

    def __init__(self, subtype: object, shape: object, code: object) -> None:
        if subtype is not _ArrayType:
            raise pickle.UnpicklingError("only plain numpy arrays are read")
        self.raw: object = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise pickle.UnpicklingError("an array is damaged")
        _, self.shape, self.kind, self.column_first, self.raw = state

    def values(self) -> np.ndarray:
        return _filled(self.raw, self.kind, self.shape, "F" if self.column_first else "C")


class _FlatArray(_Remembered):
    """A numpy array as protocol 5 writes it."""

    __slots__ = ("kind", "order", "raw", "shape")

    def __init__(self, raw: object, kind: object, shape: object, order: object) -> None:
        self.raw, self.kind, self.shape, self.order = raw, kind, shape, order

    def values(self) -> np.ndarray:
        return _filled(self.raw, self.kind, self.shape, "F" if self.order == "F" else "C")


class _Scalar(_Remembered):
    """A numpy number."""

    __slots__ = ("kind", "raw")

    def __init__(self, kind: object, raw: object) -> None:
        self.kind, self.raw = kind, raw

    def values(self) -> np.ndarray:
        return _filled(self.raw, self.kind, (), "C")


_CLASSES: dict[tuple[str, str], type[_Remembered]] = {
    ("tfutil", "Network"): StoredNetwork,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _Text,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FlatArray for core in ("core", "_core")},
}
"""What a name stands for here; the second names are numpy 2's."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Remembered]:
        return _class(module, name)


def read_networks(file: Path) -> list[StoredNetwork]:
    """Return the networks of a pickle: one, or a tuple or list of them.

    Raises:
        ForeignFileError: when the file names anything but networks and numbers, is damaged or too large.
        OSError: when it cannot be read.
    """
    data = read_limited(file)
    try:
        _check_instructions(data)
        found = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _Named as refused:
        raise ForeignFileError(str(refused)) from None
    except Exception as error:  # damaged bytes make a reader raise nearly anything
        raise ForeignFileError(f"is no network pickle, or a damaged one: {error}") from error
    networks = list(found) if isinstance(found, (tuple, list)) else [found]
    if not networks or not all(isinstance(network, StoredNetwork) and _is_built(network) for network in networks):
        raise ForeignFileError("holds other things than networks; wanted a pickle of (G, D, Gs)")
    return networks


def plain(value: object) -> Any:
    """Return an array or number of a network's state as numpy's; other values as they are.

    Raises:
        ForeignFileError: when its bytes do not fit its shape.
    """
    if not isinstance(value, (_Array, _FlatArray, _Scalar)):
        return value
    array = value.values()
    return array[()].item() if isinstance(value, _Scalar) else array


class _Named(Exception):
    """A name or an instruction is refused."""


def _class(module: str, name: str) -> type[_Remembered]:
    if (module, name) in _CLASSES:
        return _CLASSES[module, name]
    if (module, name) == ("network", "Network"):
        raise _Named(
            "is of the authors' Theano code; open it with their TensorFlow code and save it again, then import that"
        )
    raise _Named(f"asks for {module}.{name}, which is refused: a file of networks needs nothing but tfutil.Network")


def _check_instructions(data: bytes) -> None:
    """Refuse unusual instructions before the first one is followed."""
    for number, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if instruction.name not in INSTRUCTIONS:
            raise _Named(f"holds the instruction {instruction.name}, which is refused: files of networks need none")
        if number > MOST_INSTRUCTIONS:
            raise _Named(f"holds more than {MOST_INSTRUCTIONS:,} instructions, more than any file of networks")
        if instruction.name == "GLOBAL":
            _class(*str(argument).split(" ", 1))
        if instruction.name == "LONG_BINPUT" and isinstance(argument, int) and argument > number:
            raise _Named(f"reserves {argument:,} places to remember things, more than it has things")


def _is_built(network: StoredNetwork) -> bool:
    return hasattr(network, "state")


def _filled(raw: object, kind: object, shape: object, order: Any) -> np.ndarray:
    """Return the array of some bytes; a view of them, so that sharing costs nothing."""
    raw = raw.text if isinstance(raw, _Text) else raw
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(data, (bytes, bytearray)) or not isinstance(kind, _Kind) or not isinstance(shape, tuple):
        raise ForeignFileError("an array is damaged: its bytes, type or shape are none")
    if len(shape) > MOST_AXES or not all(type(side) is int and side >= 0 for side in shape):
        raise ForeignFileError(f"an array is damaged: its shape is {shape}")
    if math.prod(shape) * kind.dtype().itemsize != len(data):
        raise ForeignFileError(f"an array is damaged: {len(data)} bytes do not fill the shape {shape}")
    return np.frombuffer(data, kind.dtype()).reshape(shape, order=order)
