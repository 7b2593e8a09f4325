"""The training photos' recipe: licences are read, not guessed, and only the accepted ones are taken."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hqdata.training.recipe import GCOMPRIS_LICENCES, copyright_of, prepare, read_copyright, read_qt_resource

NOTICE = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2010 Everyone
License: GPL-3+
 The text of the licence

Files: 16.04/free.jpg
       16.04/shared_*.jpg
Copyright: 2018 Ann Author
License: CC-BY-4.0

Files: 16.04/shared_b.jpg
Copyright: 2019 Bob Builder
License: CC-BY-SA-4.0
"""


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("16.04/free.jpg", "CC-BY-4.0"),
        ("16.04/free.webp", "CC-BY-4.0"),
        ("16.04/shared_a.jpg", "CC-BY-4.0"),
        ("16.04/shared_b.jpg", "CC-BY-SA-4.0"),
        ("20.04/free.jpg", "GPL-3+"),
    ],
)
def test_the_last_matching_stanza_gives_the_licence(path, licence):
    stanza = copyright_of(path, read_copyright(NOTICE))
    assert stanza is not None
    assert stanza.licence == licence


def test_a_path_without_stanza_has_no_licence():
    assert copyright_of("a.jpg", read_copyright("Files: b.jpg\nCopyright: c\nLicense: CC0-1.0\n")) is None


def test_only_accepted_licences_are_prepared_and_attributed(tmp_path):
    write_package(tmp_path, names=["free", "shared_a", "shared_b"])
    attributions = prepare(tmp_path, tmp_path / "out", licences=["CC-BY-4"], longest_sides=[200])
    assert [(one.path, one.author, one.size) for one in attributions] == [
        ("free.jpg", "2018 Ann Author", (150, 200)),
        ("shared_a.jpg", "2018 Ann Author", (150, 200)),
    ]
    written = json.loads((tmp_path / "out" / "attributions.json").read_text())
    assert [one["name"] for one in written] == sorted(path.name for path in (tmp_path / "out").glob("*.png"))


def test_another_installed_packages_licence_covers_no_photo(tmp_path):
    write_package(tmp_path, names=["free"])
    notice = tmp_path / "usr/share/doc/tzdata/copyright"
    notice.parent.mkdir()
    notice.write_text("Files: *\nCopyright: nobody\nLicense: public-domain\n")
    packages = {one.package for one in prepare(tmp_path, tmp_path / "out", longest_sides=[200])}
    assert packages == {"lomiri-wallpapers-16.04"}


def test_a_photo_of_gcompris_has_the_licence_that_the_project_states(tmp_path):
    stated, unstated = "src/activities/erase/resource/crab.webp", "src/activities/erase/resource/whale.webp"
    write_gcompris(tmp_path, [stated, unstated])
    attributions = prepare(tmp_path, tmp_path / "out", licences=["CC0", "GPL"], longest_sides=[200])
    assert [(one.path, one.licence, one.author, one.source) for one in attributions] == [
        (
            stated,
            "CC0-1.0",
            "2019 Nosferattus",
            "https://commons.wikimedia.org/wiki/File:Sally_Lightfoot_Crab_2019.jpg",
        ),
        (unstated, "GPL-3+", "2010 Everyone", ""),
    ]


def test_every_stated_licence_is_free_and_names_an_author_and_a_source():
    stated = json.loads(GCOMPRIS_LICENCES.read_text(encoding="utf-8"))
    assert len({photo["path"] for photo in stated}) == len(stated) == 114
    for photo in stated:
        assert photo["licence"] in {"Unlicense", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-SA-4.0"}, photo
        assert photo["author"], photo
        assert photo["source"].startswith("https://"), photo
        assert not set(photo["path"]) & set("[]*?"), "would be read as a pattern"


def test_each_photo_is_kept_at_each_smaller_size(tmp_path):
    write_package(tmp_path, names=["free"])
    attributions = prepare(tmp_path, tmp_path / "out", longest_sides=[200, 100])
    assert [one.size for one in attributions] == [(150, 200), (75, 100)]


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no usable photo under"):
        prepare(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
def test_files_in_a_qt_resource_are_found_by_path(packed):
    assert list(read_qt_resource(qt_resource(b"content", packed=packed))) == [("folder/file.webp", b"content")]


def test_another_file_is_not_a_qt_resource():
    with pytest.raises(ValueError, match="not a Qt resource"):
        list(read_qt_resource(b"RIFF" + bytes(40)))


def write_notice(folder, package):
    notice = folder / "usr/share/doc" / package / "copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text(NOTICE)


def write_package(folder, names):
    write_notice(folder, "lomiri-wallpapers-16.04")
    backgrounds = folder / "usr/share/backgrounds"
    backgrounds.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(backgrounds / f"{name}.jpg")


def write_gcompris(folder, paths):
    write_notice(folder, "gcompris-qt-data")
    resources = folder / "usr/share/gcompris-qt/rcc"
    resources.mkdir(parents=True)
    photo = io.BytesIO()
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(photo, format="WEBP")
    for index, path in enumerate(paths):
        inside, name = path.rsplit("/", 1)
        data = qt_resource(photo.getvalue(), packed=False, folder=inside, name=name)
        (resources / f"{index}.rcc").write_bytes(data)


def qt_resource(content, *, packed, folder="folder", name="file.webp"):
    """A resource of format 2 with one folder that holds one file."""
    stored = struct.pack(">I", len(content)) + zlib.compress(content) if packed else content
    names, offsets = io.BytesIO(), []
    for part in (folder, name):
        offsets.append(names.tell())
        names.write(struct.pack(">HI", len(part), 0) + part.encode("utf-16-be"))
    nodes = struct.pack(">IHIIQ", 0, 2, 1, 1, 0)
    nodes += struct.pack(">IHIIQ", offsets[0], 2, 1, 2, 0)
    nodes += struct.pack(">IHIIQ", offsets[1], int(packed), 0, 0, 0)
    tree = 20
    data = tree + len(nodes)
    stored = struct.pack(">I", len(stored)) + stored
    header = b"qres" + struct.pack(">IIII", 2, tree, data, data + len(stored))
    return header + nodes + stored + names.getvalue()
