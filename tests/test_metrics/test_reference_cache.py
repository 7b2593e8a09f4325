"""The cache gives back what was stored under exactly that identity, or nothing."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from metrics.reference_cache import DamagedEntry, ReferenceCache, default_folder, open_cache

IDENTITY = {"content": "a1", "extractor": "net", "sha256": "00", "protocol": "tf1", "dtype": "float32", "seed": 0}
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def cache(tmp_path: Path) -> ReferenceCache:
    return ReferenceCache(folder=tmp_path / "cache")


def aged(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_was_stored_comes_back(cache: ReferenceCache):
    assert cache.store(IDENTITY, {"features": ROWS})
    found = cache.load(IDENTITY)
    assert found is not None
    assert found.keys() == {"features"}
    np.testing.assert_array_equal(found["features"], ROWS)


@pytest.mark.parametrize("key", IDENTITY)
def test_another_identity_is_another_entry(cache: ReferenceCache, key: str):
    cache.store(IDENTITY, {"features": ROWS})
    assert cache.load({**IDENTITY, key: "other"}) is None


def test_an_entry_under_another_ones_name_is_refused(cache: ReferenceCache):
    cache.store(IDENTITY, {"features": ROWS})
    other = {**IDENTITY, "protocol": "clean"}
    cache.path(IDENTITY).rename(cache.path(other))
    with pytest.raises(DamagedEntry, match="another set"):
        cache.load(other)


@pytest.mark.parametrize("kept", [0, 10, 300, -1])
def test_a_truncated_entry_is_noticed(cache: ReferenceCache, kept: int):
    cache.store(IDENTITY, {"features": ROWS})
    path = cache.path(IDENTITY)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedEntry, match=path.name):
        cache.load(IDENTITY)


def test_a_flipped_bit_is_noticed(cache: ReferenceCache):
    cache.store(IDENTITY, {"features": ROWS})
    path = cache.path(IDENTITY)
    data = bytearray(path.read_bytes())
    data[data.index(ROWS.tobytes()) + 7] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedEntry):
        cache.load(IDENTITY)


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_anywhere_gives_other_numbers(cache: ReferenceCache, bit: int):
    cache.store(IDENTITY, {"features": ROWS})
    path = cache.path(IDENTITY)
    whole = path.read_bytes()
    for place in range(len(whole)):  # one behaviour, so many places that parametrize would take minutes
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        with suppress(DamagedEntry):
            assert np.array_equal(cache.load(IDENTITY)["features"], ROWS)


def test_a_pickle_in_an_entry_is_not_loaded(cache: ReferenceCache):
    cache.folder.mkdir()
    np.savez(cache.path(IDENTITY), features=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(DamagedEntry):
        cache.load(IDENTITY)


def test_storing_replaces_a_damaged_entry(cache: ReferenceCache):
    cache.folder.mkdir()
    cache.path(IDENTITY).write_bytes(b"nonsense")
    cache.store(IDENTITY, {"features": ROWS})
    assert cache.load(IDENTITY) is not None


def test_the_least_recently_used_entry_goes_first(tmp_path: Path):
    rows = np.zeros(1000)
    cache = ReferenceCache(folder=tmp_path, limit_bytes=2 * rows.nbytes + 4000)
    for age, seed in [(300, 1), (200, 2)]:
        cache.store({"seed": seed}, {"features": rows})
        aged(cache.path({"seed": seed}), age)
    cache.load({"seed": 1})
    cache.store({"seed": 3}, {"features": rows})
    assert cache.load({"seed": 1}) is not None
    assert cache.load({"seed": 2}) is None
    assert cache.load({"seed": 3}) is not None


def test_an_entry_over_the_limit_is_not_stored(tmp_path: Path):
    cache = ReferenceCache(folder=tmp_path / "cache", limit_bytes=10)
    assert not cache.store(IDENTITY, {"features": ROWS})
    assert not cache.folder.exists()


def test_clearing_leaves_strangers_alone(cache: ReferenceCache):
    cache.store(IDENTITY, {"features": ROWS})
    (cache.folder / "notes.txt").write_text("mine")
    assert cache.clear() == 1
    assert [path.name for path in cache.folder.iterdir()] == ["notes.txt"]


def test_what_a_killed_process_left_goes_after_a_day(cache: ReferenceCache):
    cache.folder.mkdir()
    left = cache.folder / ".reference-0.npz.host.1.1.tmp"
    left.write_bytes(b"half")
    aged(left, 100_000)
    cache.store(IDENTITY, {"features": ROWS})
    assert not left.exists()


def test_two_processes_storing_one_entry_never_show_a_broken_one(tmp_path: Path):
    code = (
        "import sys, numpy as np\n"
        "from metrics.reference_cache import ReferenceCache\n"
        "from pathlib import Path\n"
        "cache, rows = ReferenceCache(folder=Path(sys.argv[1])), np.arange(50_000.0)\n"
        "for _ in range(60):\n"
        "    cache.store({'seed': 0}, {'features': rows})\n"
        "    assert np.array_equal(cache.load({'seed': 0})['features'], rows)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [
        path.name for path in ReferenceCache(folder=tmp_path).entries()
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HQ_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"HQ_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/progan-hq/metrics"),
    ],
)
def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, variables: dict, expected: str):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)


def test_none_is_no_cache():
    assert open_cache(None) is None


def test_a_file_is_no_cache_folder(tmp_path: Path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(NotADirectoryError, match="file: is no folder"):
        open_cache(path)


def test_a_limit_in_words_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HQ_CACHE_LIMIT", "plenty")
    with pytest.raises(ValueError, match="plenty"):
        open_cache(tmp_path)
