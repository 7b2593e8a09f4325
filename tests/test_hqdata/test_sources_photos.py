"""Folders and buckets of photos: what is listed, under which names, and what reading a hostile file gives."""

import os
import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hostile_photos import write_hostile_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from hqdata.pixels import decode_photo
from hqdata.record import PhotoRef, Refused
from hqdata.sources import SourceError, open_source, read_bytes
from hqdata.sources.files import LIMIT_BYTES, _unescape, escape_path, list_files


def ids(root, kind="auto"):
    return [ref.id for ref in open_source(str(root), kind).refs()]


def write(folder, *names):
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def outcome(root, ref):
    """Return the shape of a decoded photo, or the reason it was refused."""
    try:
        return decode_photo(read_bytes(root, ref)).shape
    except Refused as refused:
        return refused.reason


# ---- listing


def test_photos_are_listed_recursively_and_sorted(tmp_path):
    write(tmp_path, "b.jpg", "a/z.png", "a/b/c.webp", "B.JPG", "d.tif", "e.TIFF", "f.jpeg")
    assert ids(tmp_path) == ["B.JPG", "a/b/c.webp", "a/z.png", "b.jpg", "d.tif", "e.TIFF", "f.jpeg"]


@pytest.mark.parametrize("name", [".hidden.jpg", ".cache/a.jpg", "._a.jpg", "notes.txt", "a.gif", "jpg", "a.jpg.part"])
def test_hidden_and_other_files_are_left_out(tmp_path, name):
    write(tmp_path, "a.jpg", name)
    assert ids(tmp_path) == ["a.jpg"]


def test_kind_tells_what_the_folder_was_taken_for(tmp_path):
    write(tmp_path, "a.jpg")
    source = open_source(str(tmp_path))
    assert (source.kind, source.root, dict(source.attribute_names)) == ("photos", str(tmp_path), {})


def test_links_to_folders_are_followed_but_loops_and_copies_are_not(tmp_path):
    write(tmp_path, "a/one.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    elsewhere = tmp_path.with_name(tmp_path.name + "_elsewhere")
    write(elsewhere, "two.jpg")
    (tmp_path / "c").symlink_to(elsewhere)
    assert ids(tmp_path) == ["a/one.jpg", "c/two.jpg"]


def test_a_pipe_named_like_a_photo_is_not_listed(tmp_path):
    write(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert ids(tmp_path) == ["a.jpg"]


def test_version_changes_with_content_or_time(tmp_path):
    write(tmp_path, "a.jpg")
    before = open_source(str(tmp_path)).refs()[0].version
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    touched = open_source(str(tmp_path)).refs()[0].version
    (tmp_path / "a.jpg").write_bytes(b"longer content")
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    assert len({before, touched, open_source(str(tmp_path)).refs()[0].version}) == 3


def test_a_relative_root_is_made_absolute_for_other_processes(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path.parent)
    source = open_source(tmp_path.name)
    monkeypatch.chdir("/")
    assert read_bytes(source.root, source.refs()[0]) == b"a.jpg"


def test_a_file_url_is_a_local_folder(tmp_path):
    write(tmp_path, "a.jpg")
    assert open_source(f"file://{tmp_path}").root == str(tmp_path)


@pytest.mark.parametrize("prepare", [lambda folder: None, lambda folder: write(folder, "notes.txt")])
def test_a_folder_without_photos_is_an_error(tmp_path, prepare):
    prepare(tmp_path)
    with pytest.raises(SourceError, match="no photos found"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("kind", ["auto", "photos", "celeba"])
def test_a_missing_folder_is_an_error(tmp_path, kind):
    with pytest.raises(SourceError, match="nowhere: no such folder"):
        open_source(str(tmp_path / "nowhere"), kind)


def test_an_unlisted_subfolder_is_an_error_not_a_gap(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", "locked/b.jpg")
    scan = os.scandir

    def refuse_locked(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(SourceError, match=r"locked: cannot be listed \(Permission denied\)"):
        open_source(str(tmp_path))


def test_an_unknown_kind_is_an_error(tmp_path):
    with pytest.raises(SourceError, match='got "imagenet"'):
        open_source(str(tmp_path), "imagenet")


# ---- names


ODD_NAMES = [
    "with space.jpg",
    "ünï/cödé 😀.jpg",
    "new\nline.jpg",
    "100%.jpg",
    "100%25.jpg",
    "a\\b.jpg",
    "caf\udce9.jpg",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_file_name_gives_a_printable_utf8_id_that_reads_back(tmp_path, name):
    write(tmp_path, name)
    source = open_source(str(tmp_path))
    (ref,) = pickle.loads(pickle.dumps(source.refs()))
    assert ref.id.isprintable()
    assert ref.id.encode()
    assert read_bytes(source.root, ref) == name.encode("utf-8", "surrogateescape")


def test_names_of_plain_unicode_are_kept_as_they_are(tmp_path):
    write(tmp_path, "été/ß 1.jpg")
    assert ids(tmp_path) == ["été/ß 1.jpg"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=30))
def test_escaping_leads_back_to_the_same_bytes(name):
    path = os.fsdecode(name)
    escaped = escape_path(path)
    assert _unescape(escaped) == path
    assert escaped.isprintable()
    assert escaped.encode("utf-8")


def test_listing_is_the_same_in_every_order_of_the_disk(tmp_path, monkeypatch):
    write(tmp_path, "b/2.jpg", "b/1.jpg", "a.jpg", "c/3.jpg")
    expected = ids(tmp_path)
    scan = os.scandir

    class Reversed:
        def __init__(self, path):
            self.entries = scan(path)

        def __enter__(self):
            return reversed(list(self.entries))

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Reversed)
    assert ids(tmp_path) == expected


# ---- URLs


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    files.pipe({"/photos/b.jpg": b"two", "/photos/a/é 1%.png": b"one", "/photos/.x/c.jpg": b"", "/photos/n.txt": b""})
    yield "memory://photos"
    files.store.clear()


def test_a_url_is_listed_like_a_folder_and_read(bucket):
    source = open_source(bucket)
    assert [ref.id for ref in source.refs()] == ["a/é 1%25.png", "b.jpg"]
    assert [read_bytes(source.root, ref) for ref in source.refs()] == [b"one", b"two"]


def test_a_changed_object_has_another_version(bucket):
    before = open_source(bucket).refs()[1].version
    fsspec.filesystem("memory").pipe("/photos/b.jpg", b"new")
    assert open_source(bucket).refs()[1].version != before


def test_a_missing_url_is_an_error(bucket):
    with pytest.raises(SourceError, match="memory://nothing: no such folder"):
        open_source("memory://nothing")


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(SourceError, match="nonsense://x: cannot be listed"):
        open_source("nonsense://x")


def test_a_missing_storage_package_is_named(monkeypatch):
    def absent(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(SourceError, match=r"s3://bucket/photos: a package .* is missing; Install s3fs"):
        open_source("s3://bucket/photos")


def test_a_vanished_object_is_refused(bucket):
    source = open_source(bucket)
    fsspec.filesystem("memory").rm("/photos/b.jpg")
    with pytest.raises(Refused, match="read: the file is missing"):
        read_bytes(source.root, source.refs()[1])


# ---- reading


def a_ref(path, size_bytes=1):
    return PhotoRef(id=path, path=path, size_bytes=size_bytes, version="1")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(Refused, match="read: the file is missing"):
        read_bytes(str(tmp_path), a_ref("gone.jpg"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "no permission to read"),
        (OSError(5, "Input/output error"), r"cannot be read \(Input/output error\)"),
    ],
)
def test_errors_of_the_disk_are_refused_with_their_reason(tmp_path, monkeypatch, error, reason):
    def fail(_):
        raise error

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(Refused, match=reason):
        read_bytes(str(tmp_path), a_ref("a.jpg"))


def test_an_enormous_file_is_refused_unread(tmp_path):
    with pytest.raises(Refused, match="more than the limit"):
        read_bytes(str(tmp_path), a_ref("gone.jpg", size_bytes=LIMIT_BYTES + 1))


def test_a_hostile_folder_is_listed_whole_and_each_file_meets_its_fate(tmp_path):
    expected = [case for case in write_hostile_folder(tmp_path) if case.listed]
    source = open_source(str(tmp_path))
    assert [ref.id for ref in source.refs()] == [case.name for case in expected]
    outcomes = {ref.id: outcome(source.root, ref) for ref in source.refs()}
    assert {case.name: outcomes[case.name] for case in expected if case.reads} == {
        case.name: case.shape for case in expected if case.reads
    }
    refused = [case for case in expected if not case.reads]
    assert [case.name for case in refused if case.reason not in outcomes[case.name]] == []


def test_the_rotated_photo_comes_out_upright(tmp_path):
    write_hostile_folder(tmp_path)
    upright = decode_photo((tmp_path / "exif_rotated.jpg").read_bytes()).astype(int)
    reference = decode_photo((tmp_path / "photo.tif").read_bytes())[:240].astype(int)
    assert np.abs(upright - reference).mean() < 3  # JPEG at quality 95


def test_listing_files_takes_only_the_wanted_endings(tmp_path):
    write(tmp_path, "a.jpg", "b.png")
    assert [file.path for file in list_files(str(tmp_path), extensions=(".png",))] == ["b.png"]
