"""An axis is cut into tiles without a gap, and each is computed from enough pixels inside it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqdata.lattice import Axis, counted_from

axes = st.builds(Axis, st.integers(1, 60), st.integers(1, 12), st.integers(0, 9), st.integers(-40, 100))
laws = settings(max_examples=200, deadline=None, derandomize=True)


def all_tiles(axis):
    return axis.tiles(0, axis.length)


@laws
@given(axis=axes)
def test_tiles_follow_each_other_from_end_to_end(axis):
    cores = [axis.core(number) for number in all_tiles(axis)]
    assert [start for start, _ in cores] == [0, *(stop for _, stop in cores[:-1])]
    assert cores[-1][1] == axis.length


@laws
@given(axis=axes)
def test_windows_are_equally_long_and_inside(axis):
    windows = [axis.window(number) for number in all_tiles(axis)]
    assert {stop - start for start, stop in windows} == {axis.window_length}
    assert min(start for start, _ in windows) >= 0
    assert max(stop for _, stop in windows) <= axis.length


@laws
@given(axis=axes)
def test_a_window_holds_its_tile_and_the_margin_or_all_that_there_is(axis):
    for (first, last), (start, stop) in ((axis.core(number), axis.window(number)) for number in all_tiles(axis)):
        assert start <= max(first - axis.margin, 0)
        assert stop >= min(last + axis.margin, axis.length)


@laws
@given(axis=axes, data=st.data())
def test_the_tiles_of_a_part_are_those_that_it_touches(axis, data):
    start = data.draw(st.integers(0, axis.length - 1))
    stop = data.draw(st.integers(start + 1, axis.length))
    cores = {number: axis.core(number) for number in all_tiles(axis)}
    assert list(axis.tiles(start, stop)) == [n for n, (first, last) in cores.items() if first < stop and start < last]


@pytest.mark.parametrize(
    ("part", "expected"), [((0, 1), (0, 18)), ((10, 30), (6, 34)), ((11, 20), (6, 24)), ((49, 50), (32, 50))]
)
def test_what_is_read_for_a_part_are_the_windows_of_its_tiles(part, expected):
    axis = Axis(length=50, tile=10, margin=4)
    assert axis.read(*part) == expected


def test_an_axis_as_long_as_a_window_is_one_tile():
    axis = Axis(length=18, tile=10, margin=4, anchor=3)
    assert [axis.core(number) for number in all_tiles(axis)] == [(0, 18)]


def test_a_span_is_counted_from_anothers_beginning():
    assert counted_from((6, 24), (10, 20)) == (4, 14)
