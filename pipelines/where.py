"""Conditions on the columns of scores.parquet, such as `score > 20 and Male == 1`: which faces may be chosen.

Python's own syntax, read by its own parser and then held to a short list of what may be written; nothing is ever
executed. A comparison with a missing value is false, and `not` turns that around like any other answer.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool

from hqdata.settings import ConfigError
from hqdata.storage import Folder

__all__ = ["Condition", "allowed_rows", "parse_condition"]

QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`([^`]+)`""")
"""Texts, to be left as they are, and names in backticks."""
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
EXAMPLE = "write it like: score > 20 and (Male == 1 or identity in (3, 7)), and names that are no words in `backticks`"
LARGEST = 2**63
"""Integer columns have 64 bits."""
ROWS_AT_ONCE = 65_536

Mask = Bool[np.ndarray, " rows"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was found to be well-formed; the columns' types are looked at when there is a table."""

    text: str
    columns: tuple[str, ...]
    """Those that it names, each once."""
    _tree: ast.expr
    _names: Mapping[str, str]
    """The columns by the words that stand for them in the tree."""

    def require_fits(self, schema: pa.Schema) -> None:
        """Refuse a condition that a table with these columns cannot answer.

        Raises:
            ConfigError: for an unknown column, naming the nearest, or a comparison of a number with a text.
        """
        for column in self.columns:
            if column not in schema.names:
                nearest = difflib.get_close_matches(column, schema.names, n=1, cutoff=0.0)[0]
                raise ConfigError(
                    f"{self._where()}: no column {column!r} in the scores; did you mean {nearest!r}?"
                    f" Known: {', '.join(schema.names)}"
                )
        self.mask(schema.empty_table())

    def mask(self, table: pa.Table) -> Mask:
        """Return for each row whether the condition holds.

        Raises:
            ConfigError: for a comparison of a number with a text.
        """
        return self._holds(self._tree, table)

    def _holds(self, node: ast.expr, table: pa.Table) -> Mask:
        if isinstance(node, ast.BoolOp):
            joined = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return joined.reduce([self._holds(value, table) for value in node.values])
        if isinstance(node, ast.UnaryOp):
            return ~self._holds(node.operand, table)
        if isinstance(node, ast.Compare):
            return np.logical_and.reduce([self._compared(*pair, table) for pair in _pairs(node)])
        values = self._column(node, table)
        if not pa.types.is_boolean(values.type):
            raise self._error(f"{ast.unparse(node)} alone is neither true nor false; compare it with something")
        return _plain(values)

    def _compared(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, table: pa.Table) -> Mask:
        if isinstance(operator, (ast.Is, ast.IsNot)):
            missing = _plain(pc.call_function("is_null", [self._column(left, table)]))
            return missing if isinstance(operator, ast.Is) else ~missing
        if isinstance(operator, (ast.In, ast.NotIn)):
            found = self._contained(left, right, table)
            return _plain(found if isinstance(operator, ast.In) else pc.call_function("invert", [found]))
        operands = [self._operand(node, table) for node in (left, right)]
        self._require_same_kind(left, right, *operands)
        return _plain(pc.call_function(COMPARISONS[type(operator)], operands))

    def _contained(self, left: ast.expr, right: ast.expr, table: pa.Table) -> pa.ChunkedArray:
        """Answer `column in (1, 2)`, and `"part" in column`; null where the column is."""
        if isinstance(left, ast.Constant):
            texts = self._column(right, table)
            self._require_same_kind(left, right, pa.scalar(left.value), texts)
            return pc.call_function("match_substring", [texts], pc.MatchSubstringOptions(left.value))
        values = self._column(left, table)
        nodes = right.elts if isinstance(right, (ast.Tuple, ast.List)) else [right]
        for node in nodes:
            self._require_same_kind(left, node, values, pa.scalar(_literal(node)))
        wanted = pa.array([_literal(node) for node in nodes], None if nodes else values.type)
        if wanted.type != values.type:
            wanted, values = wanted.cast(pa.float64()), values.cast(pa.float64())
        found = pc.call_function("is_in", [values], pc.SetLookupOptions(wanted))
        known = pc.call_function("is_valid", [values])
        return pc.call_function("if_else", [known, found, pa.scalar(None, pa.bool_())])

    def _operand(self, node: ast.expr, table: pa.Table) -> pa.ChunkedArray | pa.Scalar:
        return self._column(node, table) if isinstance(node, ast.Name) else pa.scalar(_literal(node))

    def _column(self, node: ast.expr, table: pa.Table) -> pa.ChunkedArray:
        return table[self._shown(node)]

    def _require_same_kind(self, left: ast.expr, right: ast.expr, *values: Any) -> None:
        kinds = [_kind(value.type) for value in values]
        if kinds[0] != kinds[1] or "list" in kinds:
            sides = " and ".join(
                f"{self._shown(node)}, a {kind}" for node, kind in zip((left, right), kinds, strict=True)
            )
            raise self._error(f"cannot compare {sides}")

    def _shown(self, node: ast.expr) -> str:
        return self._names.get(node.id, node.id) if isinstance(node, ast.Name) else ast.unparse(node)

    def _where(self) -> str:
        return f"select.where {self.text!r}"

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{self._where()}: {what}")


def parse_condition(text: str) -> Condition:
    """Return a condition; whether its columns exist is asked later, of `Condition.require_fits`.

    >>> parse_condition("score > 20 and not `5_o_Clock_Shadow` == 1").columns
    ('score', '5_o_Clock_Shadow')

    Raises:
        ConfigError: for anything but comparisons of columns with numbers and texts joined by and, or, not.
    """
    names: dict[str, str] = {}
    prefix = "column"
    while prefix in text:
        prefix += "_"

    def as_word(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        word = f"{prefix}{len(names)}"
        names[word] = match[1]
        return f" {word} "

    try:
        tree = ast.parse(QUOTED.sub(as_word, text).strip(), mode="eval").body
        _check(tree)
    except SyntaxError as error:
        raise ConfigError(f"select.where {text!r}: {error.msg}; {EXAMPLE}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"select.where {text!r}: {error}; {EXAMPLE}") from error
    words = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return Condition(text, tuple(dict.fromkeys(names.get(word, word) for word in words)), tree, names)


def allowed_rows(where: str, run: Folder, table: str) -> Mask:
    """Return for each row of a run's table whether a condition holds.

    Args:
        where: as `parse_condition` takes it.
        run: the run folder.
        table: the path of a Parquet file in it; only the columns that are named are read.

    Raises:
        ConfigError: if the condition does not fit the table.
        OSError: if the table cannot be read.
    """
    condition = parse_condition(where)
    with run.reading(table) as path, pq.ParquetFile(path) as file:
        condition.require_fits(file.schema_arrow)
        batches = file.iter_batches(ROWS_AT_ONCE, columns=list(condition.columns))
        masks = [condition.mask(pa.Table.from_batches([batch])) for batch in batches]
    return np.concatenate([np.zeros(0, np.bool_), *masks])


def _check(node: ast.expr) -> None:
    """Raise ValueError for what is no condition."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand)
    elif isinstance(node, ast.Compare):
        for pair in _pairs(node):
            _check_pair(*pair)
    elif not isinstance(node, ast.Name):
        raise ValueError(f"{ast.unparse(node)} is no condition")


def _check_pair(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> None:
    shown = ast.unparse(ast.Compare(left, [operator], [right]))
    if not any(isinstance(node, ast.Name) for node in (left, right)):
        raise ValueError(f"{shown} names no column")
    if isinstance(operator, (ast.Is, ast.IsNot)):
        fits = isinstance(left, ast.Name) and isinstance(right, ast.Constant) and right.value is None
    elif isinstance(operator, (ast.In, ast.NotIn)):
        parts = right.elts if isinstance(right, (ast.Tuple, ast.List)) else [right]
        listed = isinstance(left, ast.Name) and all(_is_literal(part) for part in parts)
        fits = listed or (isinstance(left, ast.Constant) and isinstance(left.value, str) and len(parts) == 1)
    else:
        fits = all(isinstance(node, ast.Name) or _is_literal(node) for node in (left, right))
    if not fits:
        raise ValueError(f"{shown} is not understood")


def _pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    """Yield a < b and b < c for a < b < c."""
    yield from zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant) and _is_number(node.operand.value)
    return isinstance(node, ast.Constant) and (type(node.value) in (str, bool) or _is_number(node.value))


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and value < LARGEST)


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(node)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "truth value"
    if pa.types.is_string(kind):
        return "text"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "list"


def _plain(values: pa.ChunkedArray) -> Mask:
    """Return truth values as an array; false where unknown."""
    return values.fill_null(False).to_numpy().astype(np.bool_)
