"""Laws of folders, patterns, lists of files and zip archives."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from metrics.sources import NoPictures, UnreadablePicture, open_source
from metrics.sources.files import natural

ENCRYPTED = 0x1


def picture(seed, size=(5, 7)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(seed, size=(5, 7)):
    buffer = io.BytesIO()
    Image.fromarray(picture(seed, size)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def pack(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def images_of(source, size=4):
    return torch.cat([batch.images for batch in source.batches(size)]).permute(0, 2, 3, 1).numpy()


def stacked(*seeds):
    return np.stack([picture(seed) for seed in seeds])


def test_files_come_folder_by_folder_and_numbers_by_their_value(tmp_path: Path):
    write(tmp_path, {"b/1.png": png(3), "a/10.png": png(2), "a/9.png": png(1), "0.png": png(0)})
    np.testing.assert_array_equal(images_of(open_source(tmp_path)), stacked(0, 1, 2, 3))


@given(st.lists(st.text(alphabet="ab0123456789/", min_size=1), min_size=2, unique=True), st.randoms())
def test_the_order_of_names_does_not_depend_on_how_they_were_listed(names, random):
    shuffled = random.sample(names, len(names))
    key = lambda name: (natural(name), name)  # noqa: E731
    assert sorted(shuffled, key=key) == sorted(names, key=key)


def test_hidden_files_are_not_seen(tmp_path: Path):
    write(tmp_path, {"0.png": png(0), ".1.png": b"", ".thumbnails/2.png": png(2)})
    assert open_source(tmp_path).count == 1


def test_links_to_folders_are_followed_but_not_in_a_circle(tmp_path: Path):
    write(tmp_path / "real", {"0.png": png(0)})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "set")
    assert open_source(tmp_path / "set").count == 1


def test_other_files_are_left_out_and_told(tmp_path: Path):
    source = open_source(write(tmp_path, {"0.png": png(0), "notes.txt": b"", "clip.gif": b"GIF89a"}))
    assert source.count == 1
    assert any("2 files that are no pictures" in note and "clip.gif" in note for note in source.notes())


def test_a_folder_without_pictures_is_refused_with_what_is_there(tmp_path: Path):
    with pytest.raises(NoPictures, match=r"2 files with \.txt"):
        open_source(write(tmp_path, {"a.txt": b"", "b.txt": b""}))


def test_a_training_is_not_measured_by_its_sheets(tmp_path: Path):
    write(tmp_path, {"runlog.jsonl": b"", "checkpoints/a/state.json": b"", "samples/1.png": b""})
    with pytest.raises(ValueError, match="`hqdata score` measures its generator"):
        open_source(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(NoPictures, match="holds no files; wanted"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing", "no such file"), ("s3://bucket/set", "only local paths"), ("https://a.b/c", "only local paths")],
)
def test_a_path_that_leads_nowhere_is_named(path, reason):
    with pytest.raises(FileNotFoundError, match=f"{path}.*{reason}"):
        open_source(path)


def test_a_pattern_takes_what_it_matches_in_order(tmp_path: Path):
    write(tmp_path, {"a/2.png": png(1), "a/1.png": png(0), "b/3.jpg": b"", "b/c/4.png": png(2)})
    np.testing.assert_array_equal(images_of(open_source(f"{tmp_path}/**/*.png")), stacked(0, 1, 2))


def test_a_pattern_without_a_match_is_refused(tmp_path: Path):
    with pytest.raises(NoPictures, match=r"\*\.png"):
        open_source(f"{tmp_path}/*.png")


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path):
    write(tmp_path / "run[1]*", {"0.png": png(0)})
    assert open_source(tmp_path / "run[1]*").count == 1


def test_a_list_of_paths_keeps_its_order(tmp_path: Path):
    write(tmp_path, {"0.png": png(0), "1.png": png(1)})
    np.testing.assert_array_equal(images_of(open_source([tmp_path / "1.png", tmp_path / "0.png"])), stacked(1, 0))


def test_a_missing_file_of_a_list_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        open_source([str(write(tmp_path, {"0.png": png(0)}) / "0.png"), str(tmp_path / "1.png")])


@pytest.mark.parametrize("num_threads", [1, 3, 16])
def test_threads_change_neither_order_nor_pixels(tmp_path: Path, num_threads):
    write(tmp_path, {f"{seed}.png": png(seed) for seed in range(20)})
    np.testing.assert_array_equal(images_of(open_source(tmp_path, num_threads=num_threads)), stacked(*range(20)))


def test_an_unreadable_file_is_refused_by_name(tmp_path: Path):
    source = open_source(write(tmp_path, {"0.png": png(0), "sub/1.png": png(1)[:50]}))
    with pytest.raises(UnreadablePicture, match=r"sub/1\.png: .*damaged.*skip_unreadable"):
        images_of(source)


def test_unreadable_files_can_be_left_out_and_are_told(tmp_path: Path):
    files = {"0.png": png(0), "1.png": b"text", "2.png": png(2)[:-30], "3.png": png(3)}
    source = open_source(write(tmp_path, files), skip_unreadable=True)
    np.testing.assert_array_equal(images_of(source), stacked(0, 3))
    assert any("2 unreadable files were left out (first 1.png" in note for note in source.notes())


def test_a_picture_left_out_leaves_its_index_free(tmp_path: Path):
    write(tmp_path, {f"{seed}.png": png(seed) for seed in range(5)} | {"2.png": b"text"})
    batches = list(open_source(tmp_path, skip_unreadable=True).batches(4))
    assert [(batch.first_index, len(batch.images)) for batch in batches] == [(0, 2), (3, 2)]


def test_nothing_but_unreadable_files_is_refused(tmp_path: Path):
    with pytest.raises(NoPictures, match="gave no pictures"):
        images_of(open_source(write(tmp_path, {"0.png": b"text"}), skip_unreadable=True))


def test_names_that_are_no_text_can_be_printed(tmp_path: Path):
    (tmp_path / os.fsdecode(b"\xff\x1b[31m.png")).write_bytes(b"text")
    with pytest.raises(UnreadablePicture) as caught:
        images_of(open_source(tmp_path))
    assert "\\udcff\\x1b[31m.png" in str(caught.value)
    assert str(caught.value).isprintable()


def test_reading_cut_files_as_if_whole_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (note,) = open_source(write(tmp_path, {"0.png": png(0)})).notes()
    assert "LOAD_TRUNCATED_IMAGES is on" in note


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path):
    (write(tmp_path, {"0.png": png(0)}) / "0.png").chmod(0)
    with pytest.raises(UnreadablePicture, match=r"0\.png: it cannot be read"):
        images_of(open_source(tmp_path))


def test_a_device_called_a_picture_is_not_waited_for(tmp_path: Path):
    (tmp_path / "0.png").symlink_to(os.devnull)
    with pytest.raises(UnreadablePicture, match=r"0\.png: it cannot be read: it is no regular file"):
        images_of(open_source(tmp_path))


def test_numbers_in_names_may_have_any_length():
    long = "9" * 5000
    assert sorted([f"{long}0.png", f"{long}.png", "0010.png", "9.png"], key=natural) == [
        "9.png",
        "0010.png",
        f"{long}.png",
        f"{long}0.png",
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_gives_what_its_folder_gives(tmp_path: Path, method):
    files = {"a/10.png": png(2), "a/9.png": png(1), "0.png": png(0), "__MACOSX/0.png": b"", "readme.txt": b""}
    write(tmp_path / "set", {name: data for name, data in files.items() if "MACOSX" not in name})
    folder, archive = open_source(tmp_path / "set"), open_source(pack(tmp_path / "set.zip", files, compression=method))
    np.testing.assert_array_equal(images_of(archive), images_of(folder))
    assert archive.fingerprint() == folder.fingerprint()


def test_entries_of_a_zip_with_path_tricks_are_read_and_written_nowhere(tmp_path: Path):
    path = pack(tmp_path / "set.zip", {"../../evil.png": png(0), "/etc/evil.png": png(1)})
    before = sorted(tmp_path.parent.rglob("*"))
    assert len(images_of(open_source(path))) == 2
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_an_encrypted_entry_is_refused_by_name(tmp_path: Path):
    path = pack(tmp_path / "set.zip", {"0.png": png(0)})
    data = bytearray(path.read_bytes())
    data[6] |= ENCRYPTED  # flags of the local header
    data[data.rindex(b"PK\x01\x02") + 8] |= ENCRYPTED  # and of the central one
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"0\.png is encrypted"):
        open_source(path)


def test_an_entry_that_claims_to_unpack_to_gigabytes_is_refused(tmp_path: Path):
    path = pack(tmp_path / "set.zip", {"0.png": png(0)})
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\x01\x02") + 24
    data[start : start + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match="would unpack to 2147483648 bytes"):
        open_source(path)


def test_a_damaged_entry_is_refused_by_name(tmp_path: Path):
    path = pack(tmp_path / "set.zip", {"0.png": png(0)})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadablePicture, match=r"0\.png: it cannot be read: damaged in the archive"):
        images_of(open_source(path))


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_a_cut_zip_is_refused(tmp_path: Path, cut):
    path = pack(tmp_path / "set.zip", {"0.png": png(0)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="no whole zip archive"):
        open_source(path)


def test_a_zip_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(NoPictures, match=r"1 files with \.txt"):
        open_source(pack(tmp_path / "set.zip", {"a.txt": b""}))


@pytest.mark.parametrize(("name", "reason"), [("w.pth", "is a pickle"), ("a.csv", "neither a folder nor")])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name, reason):
    with pytest.raises(ValueError, match=reason):
        open_source(write(tmp_path, {name: b"x"}) / name)
