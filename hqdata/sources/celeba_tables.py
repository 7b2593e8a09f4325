"""CelebA's text tables: one row per picture, its file name and then numbers, separated by spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hqdata.sources.source import SourceError

__all__ = ["Row", "Table", "read_table"]


class Row(Mapping[str, int]):
    """One picture's numbers by their columns' names, which all rows share: 202,599 dicts would take 450 MB."""

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: tuple[str, ...], values: tuple[int, ...]) -> None:
        self._columns = columns
        self._values = values

    def __getitem__(self, name: str) -> int:
        try:
            return self._values[self._columns.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def items(self) -> Any:
        """Return the pairs; faster than the look-ups of a plain Mapping."""
        return dict(zip(self._columns, self._values, strict=True)).items()

    def __reduce__(self) -> tuple[type[Row], tuple[tuple[str, ...], tuple[int, ...]]]:
        return Row, (self._columns, self._values)

    def __repr__(self) -> str:
        return f"Row({dict(self)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it stands in its file."""

    path: Path
    declared_rows: int | None
    """The count in the file's first line, or None for a file without a head."""
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Any, ...]]
    """Numbers by the picture's file name."""


def read_table(path: Path, *, columns: tuple[str, ...] | None, number: Callable[[str], int | float]) -> Table:
    """Return a table of one row per picture.

    Args:
        path: the text file.
        columns: names of the numbers, for a file without a head; None reads two lines, the row count and the names.
        number: `int` or `float`, how to read each number.

    Raises:
        SourceError: with file and line, for a row of another length, a number that is none, or a repeated picture.
    """
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    declared_rows, start = None, 0
    if columns is None:
        declared_rows, columns, start = *_head(path, lines), 2
    rows: dict[str, tuple[Any, ...]] = {}
    for index in range(start, len(lines)):
        fields = lines[index].split()
        if not fields:
            continue
        numbers = _numbers(fields, len(columns), number)
        if numbers is None:
            raise _malformed(path, index, lines[index], len(columns))
        if fields[0] in rows:
            raise SourceError(f"{path}, line {index + 1}: lists {fields[0]} a second time; remove one of the rows")
        rows[fields[0]] = numbers
    return Table(path=path, declared_rows=declared_rows, columns=columns, rows=rows)


def _head(path: Path, lines: list[str]) -> tuple[int, tuple[str, ...]]:
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise SourceError(f"{path}, line 1: must be the number of rows, then a line of column names; download it again")
    return int(lines[0]), tuple(lines[1].split())


def _numbers(fields: list[str], count: int, number: Callable[[str], int | float]) -> tuple[int | float, ...] | None:
    """Return a row's numbers, or None unless it is a picture's name and `count` finite numbers."""
    try:
        numbers = tuple(map(number, fields[1:]))
    except ValueError:
        return None
    good = len(numbers) == count and math.isfinite(sum(numbers)) and fields[0].lower().endswith(".jpg")
    return numbers if good else None


def _malformed(path: Path, index: int, line: str, count: int) -> SourceError:
    wanted = f"a .jpg name and {count} {'number' if count == 1 else 'numbers'}"
    return SourceError(f'{path}, line {index + 1}: must hold {wanted}, got "{line[:80]}"; download the file again')
