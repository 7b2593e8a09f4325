"""Photos in columns are the photos that were listed, sorted, whatever their names and versions look like."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqdata.record import PhotoRef
from hqdata.sources.files import File
from hqdata.sources.front_coding import FrontCoded
from hqdata.sources.photo_table import BATCH, PhotoTable, pack_version, unpack_version

NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=8).map(lambda end: f"photos/{end}"), max_size=60)
VERSIONS = st.one_of(
    st.text(max_size=40),
    st.integers(0, 2**64).map(str),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.sampled_from(["0", "00", "-1", "9" * 18, "9" * 19, "unreadable", "0a" * 16, "0A" * 16]),
)


def table_of(*paths: str) -> PhotoTable:
    return PhotoTable.of(File(path=path, size_bytes=place, version=f"{place}-7") for place, path in enumerate(paths))


@given(NAMES)
def test_names_come_back_by_place_and_in_a_row(names: list[str]):
    coded = FrontCoded(names)
    assert list(coded) == names
    assert [coded[place] for place in range(len(names))] == names


@pytest.mark.parametrize("length", [254, 255, 256, 5000])
def test_long_names_come_back(length: int):
    names = ["x" * length, "x" * length + "a", "y" * length]
    assert list(FrontCoded(names)) == names


@given(VERSIONS, st.integers(0, 2**63), st.booleans())
def test_a_packed_version_is_the_same_again(told: str, size: int, begins_with_size: bool):
    version = f"{size}-{told}" if begins_with_size else told
    assert unpack_version(pack_version(version, size), size) == version


@settings(deadline=None)  # Arrow imports pandas at its first array
@given(st.sets(st.text("ab/-0", min_size=1, max_size=6), max_size=50))
def test_a_table_is_sorted_by_path_however_it_was_listed(paths: set[str]):
    table = table_of(*paths)
    assert [ref.path for ref in table] == sorted(paths)
    assert [table[place] for place in range(len(table))] == list(table)


def test_a_table_of_several_batches_gives_what_was_listed():
    files = [
        File(path=f"{number:06d}.jpg", size_bytes=number, version=f"{number}-{10**18 + number}")
        for number in range(BATCH + 3)
    ]
    shuffled = [files[place] for place in np.random.default_rng(0).permutation(len(files))]
    expected = [PhotoRef(id=file.path, **dataclasses.asdict(file)) for file in files]
    assert list(PhotoTable.of(files)) == list(PhotoTable.of(shuffled)) == expected
    assert PhotoTable.of(shuffled)[-1] == expected[-1]


def test_a_slice_is_a_table_of_those_photos():
    table = table_of("c", "a", "d", "b")
    assert [ref.path for ref in table[1:3]] == ["b", "c"]
    assert [ref.path for ref in table[::-1]] == ["d", "c", "b", "a"]


def test_batches_that_are_sorted_by_themselves_are_sorted_together():
    names = [f"b{number:05d}" for number in range(BATCH)]
    table = PhotoTable.of(File(path=name, size_bytes=1, version="1-1") for name in [*names, "a"])
    assert table[0].path == "a"
    assert [ref.path for ref in table] == ["a", *names]
