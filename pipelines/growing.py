"""What grows at its end: columns with numpy's density, texts, and numbers for values that come again and again."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Codes", "GrowingColumns", "GrowingTexts"]

Value = TypeVar("Value", bound=Hashable)

FIRST_CAPACITY = 1024
GROWTH = 1.25


class GrowingColumns:
    """Equally long one-dimensional arrays.

    Args:
        expected: rows; no memory is taken for those that do not come, and more may come, at the price of a copy.
        dtypes: of each column by its name.
    """

    def __init__(self, expected: int, **dtypes: Any) -> None:
        self._length = 0
        self._columns = {name: np.zeros(max(expected, FIRST_CAPACITY), dtype) for name, dtype in dtypes.items()}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column, to read or to change in place; valid until the next `extend`."""
        return self._columns[name][: self._length]

    def extend(self, count: int, **values: Any) -> int:
        """Add `count` rows and return the first one's place; a column that is not named gets zeros."""
        first, self._length = self._length, self._length + count
        for name, column in self._columns.items():
            if self._length > len(column):
                longer = np.empty(max(self._length, int(GROWTH * len(column))), column.dtype)
                longer[:first] = column[:first]
                self._columns[name] = column = longer
            column[first : self._length] = values.get(name, 0)
        return first


class Codes(Generic[Value]):
    """Small numbers for values, 0 for the first, so that a column can hold them.

    Args:
        values: known from the beginning.
    """

    def __init__(self, *values: Value) -> None:
        self._values = list(values)
        self._codes = {value: code for code, value in enumerate(values)}

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values)

    def __getitem__(self, code: int) -> Value:
        """Return the value with this number."""
        return self._values[code]

    def code(self, value: Value) -> int:
        """Return the value's number, a new one where it is new."""
        code = self._codes.setdefault(value, len(self._values))
        if code == len(self._values):
            self._values.append(value)
        return code


class GrowingTexts:
    """Strings by their places, in little more memory than their letters."""

    def __init__(self) -> None:
        self._letters = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:
        """Return the string at a place, 0 to n - 1."""
        return self._letters[self._ends[place] : self._ends[place + 1]].decode()

    def append(self, text: str) -> int:
        """Add a string and return its place."""
        self._letters += text.encode()
        self._ends.append(len(self._letters))
        return len(self) - 1
