"""Every array that holds real numbers is taken as it is meant, or refused by name."""

import numpy as np
import pytest
import torch

from metrics.arrays import checked_rows, to_uint8

ROWS = np.arange(12.0).reshape(4, 3)


def read_only(rows: np.ndarray) -> np.ndarray:
    copy = rows.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.astype(">f8"),
        ROWS.astype(">i2"),
        ROWS.astype(np.longdouble),
        ROWS.astype(np.float16),
        ROWS[::-1].copy()[::-1],
        np.repeat(ROWS, 2, axis=1)[:, ::2],
        np.asfortranarray(ROWS),
        read_only(ROWS),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        torch.tensor(ROWS, requires_grad=True),
    ],
    ids=["big-endian", "integers", "long", "half", "reversed", "strided", "columns", "read-only", "bfloat16", "grad"],
)
def test_the_same_numbers_are_the_same_rows(rows):
    taken = checked_rows("rows", rows)
    assert taken.dtype == torch.float64
    assert not taken.requires_grad
    assert np.array_equal(taken.numpy(), ROWS)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (np.ma.masked_greater(ROWS, 5.0), "rows must be a plain array, got a masked one"),
        (torch.tensor(ROWS).to_sparse(), "rows must be a dense tensor, got torch.sparse_coo"),
    ],
    ids=["masked", "sparse"],
)
def test_arrays_with_holes_are_refused(rows, sentence: str):
    with pytest.raises(TypeError, match=sentence):
        checked_rows("rows", rows)


@pytest.mark.parametrize("value_range", [(0, np.inf), (-np.inf, 0), (np.nan, 1), (1, 0), (0, 0)])
def test_a_range_without_two_finite_ends_is_refused(value_range):
    with pytest.raises(ValueError, match="value_range must be"):
        to_uint8(np.zeros((1, 3, 2, 2)), value_range=value_range)


def test_levels_are_rounded_and_saturated_never_wrapped():
    values = np.array([-1e300, -0.01, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.01, 1e300]).reshape(1, 1, 1, 8)
    assert to_uint8(values, value_range=(0, 1)).flatten().tolist() == [0, 0, 0, 0, 1, 255, 255, 255]


def test_all_levels_survive_the_way_through_floats():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1, value_range=(-1, 1)), levels)
