"""CelebA in the wild: what is read from its folder, and which error each wrong folder gives."""

import io
import pickle
import shutil

import pytest
from PIL import Image

from hqdata.sources import SourceError, open_source, read_bytes

NUM = 6
NAMES = [f"{number:06d}.jpg" for number in range(1, NUM + 1)]
POINTS = ["lefteye", "righteye", "nose", "leftmouth", "rightmouth"]
COLUMNS = " ".join(f"{point}_{axis}" for point in POINTS for axis in "xy")


def jpeg(width=60, height=50):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


def landmark_row(name):
    first = 10 * int(name[:6])
    return f"{name}  " + " ".join(str(first + k) for k in range(10))


def table(head, rows):
    return "\n".join([*head, *rows]) + "\n"


def write_landmarks(root, names=NAMES, *, declared=None):
    count = len(names) if declared is None else declared
    (root / "Anno" / "list_landmarks_celeba.txt").write_text(table([str(count), COLUMNS], map(landmark_row, names)))


def write_attributes(root, names=NAMES):
    rows = [f"{name} {-1 if name in NAMES[:2] else 1:2d} -1" for name in names]
    (root / "Anno" / "list_attr_celeba.txt").write_text(table([str(len(names)), "Smiling Male"], rows))


@pytest.fixture
def root(tmp_path):
    """Return a small CelebA with every table."""
    for folder in ("img_celeba", "Anno", "Eval"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / "img_celeba" / name).write_bytes(jpeg())
    write_landmarks(tmp_path)
    write_attributes(tmp_path)
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("".join(f"{name} {7 + int(name[:6])}\n" for name in NAMES))
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("".join(f"{name} 2\n" for name in NAMES))
    return tmp_path


def error(root, kind="auto", **options):
    with pytest.raises(SourceError) as caught:
        open_source(str(root), kind, **options)
    return str(caught.value)


def ids(source):
    return [ref.id for ref in source.refs()]


# ---- what is read


def test_pictures_come_sorted_by_their_stems_with_points_and_columns(root):
    source = open_source(str(root))
    ref = source.refs()[1]
    assert source.kind == "celeba"
    assert ids(source) == [name[:6] for name in NAMES]
    assert (ref.path, ref.size_bytes) == ("img_celeba/000002.jpg", len(jpeg()))
    assert ref.landmarks == ((20.0, 21.0), (22.0, 23.0), (24.0, 25.0), (26.0, 27.0), (28.0, 29.0))
    assert dict(ref.attributes) == {"Smiling": -1, "Male": -1, "identity": 9, "partition": 2}
    assert source.attribute_names == {"Smiling": int, "Male": int, "identity": int, "partition": int}


def test_bytes_are_read_from_the_root_and_the_ref_alone(root):
    source = open_source(str(root))
    ref = pickle.loads(pickle.dumps(source.refs()[0]))
    assert ref == source.refs()[0]
    assert read_bytes(source.root, ref) == jpeg()


@pytest.mark.parametrize(
    "name", ["Anno/list_attr_celeba.txt", "Anno/identity_CelebA.txt", "Eval/list_eval_partition.txt"]
)
def test_a_table_that_is_not_there_only_costs_its_columns(root, name):
    (root / name).unlink()
    assert len(open_source(str(root)).attribute_names) < 4
    assert len(open_source(str(root)).refs()) == NUM


def test_without_any_table_there_are_no_attributes(root):
    for name in ("Anno/list_attr_celeba.txt", "Anno/identity_CelebA.txt", "Eval/list_eval_partition.txt"):
        (root / name).unlink()
    source = open_source(str(root))
    assert (dict(source.attribute_names), dict(source.refs()[0].attributes)) == ({}, {})


@pytest.mark.parametrize("folder", ["Eval", "."])
def test_tables_may_lie_in_other_folders(root, folder):
    shutil.move(root / "Anno" / "list_landmarks_celeba.txt", root / folder / "list_landmarks_celeba.txt")
    assert len(open_source(str(root)).refs()) == NUM


def test_pictures_may_lie_below_img(root):
    (root / "Img").mkdir()
    shutil.move(root / "img_celeba", root / "Img" / "img_celeba")
    source = open_source(str(root))
    assert read_bytes(source.root, source.refs()[0]) == jpeg()


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_fine(root):
    path = root / "Anno" / "list_landmarks_celeba.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n  \r\n")
    assert len(open_source(str(root)).refs()) == NUM


def test_a_damaged_first_picture_does_not_stop_the_listing(root):
    (root / "img_celeba" / NAMES[0]).write_bytes(b"")
    assert len(open_source(str(root)).refs()) == NUM


def test_kind_photos_reads_the_same_folder_without_annotations(root):
    source = open_source(str(root), "photos")
    assert ids(source) == [f"img_celeba/{name}" for name in NAMES]
    assert source.refs()[0].landmarks is None


# ---- the wrong folder


def test_the_aligned_folder_is_refused_with_what_to_download(root):
    shutil.move(root / "img_celeba", root / "img_align_celeba")
    message = error(root)
    assert "img_align_celeba" in message
    assert "img_celeba.7z" in message


def test_the_aligned_folder_itself_is_refused(root):
    shutil.move(root / "img_celeba", root / "img_align_celeba")
    assert "download the in-the-wild set" in error(root / "img_align_celeba")


def test_aligned_landmarks_alone_are_refused(root):
    shutil.move(root / "Anno" / "list_landmarks_celeba.txt", root / "Anno" / "list_landmarks_align_celeba.txt")
    message = error(root)
    assert "list_landmarks_align_celeba.txt: belongs to the aligned set" in message
    assert "list_landmarks_celeba.txt" in message


def test_aligned_pictures_in_the_right_folder_are_refused(root):
    for name in NAMES:
        (root / "img_celeba" / name).write_bytes(jpeg(178, 218))
    assert "178x218 pixels" in error(root)


def test_one_picture_of_the_aligned_size_is_no_aligned_set(root):
    (root / "img_celeba" / NAMES[0]).write_bytes(jpeg(178, 218))
    assert len(open_source(str(root)).refs()) == NUM


def test_the_aligned_folder_beside_the_right_one_does_not_matter(root):
    (root / "img_align_celeba").mkdir()
    assert len(open_source(str(root)).refs()) == NUM


def test_no_picture_folder_is_refused(root):
    shutil.rmtree(root / "img_celeba")
    assert "has no folder img_celeba" in error(root)


def test_an_empty_picture_folder_is_refused(root):
    shutil.rmtree(root / "img_celeba")
    (root / "img_celeba").mkdir()
    assert "holds no .jpg pictures; unpack img_celeba.7z" in error(root)


def test_pictures_unpacked_one_folder_too_deep_are_refused(root):
    shutil.move(root / "img_celeba", root / "inner")
    (root / "img_celeba").mkdir()
    shutil.move(root / "inner", root / "img_celeba" / "img_celeba")
    assert "must lie directly in it, got img_celeba/000001.jpg" in error(root)


def test_missing_landmarks_are_refused(root):
    (root / "Anno" / "list_landmarks_celeba.txt").unlink()
    assert "list_landmarks_celeba.txt: no such file" in error(root)


# ---- counts that disagree


def test_pictures_that_are_missing_are_counted_and_named(root):
    for name in NAMES[2:]:
        (root / "img_celeba" / name).unlink()
    message = error(root)
    assert "lists 6 pictures, but 4 are not in img_celeba (000003.jpg, 000004.jpg, 000005.jpg and 1 more)" in message
    assert "allow a subset (allow_subset) to use the 2 that are there" in message


def test_pictures_without_a_row_are_counted_and_named(root):
    write_landmarks(root, NAMES[:4])
    write_attributes(root, NAMES[:4])
    message = error(root)
    assert "has no row for 2 of 6 pictures in img_celeba (000005.jpg, 000006.jpg)" in message


def test_a_first_line_that_disagrees_with_the_rows_is_refused(root):
    write_landmarks(root, declared=202599)
    assert "says 202599 in its first line but has 6 rows" in error(root)


def test_an_attribute_table_that_lacks_pictures_is_refused(root):
    write_attributes(root, NAMES[:5])
    assert "list_attr_celeba.txt: has no row for 1 of 6 pictures (000006.jpg)" in error(root)


def test_a_subset_of_pictures_is_used_when_allowed(root):
    for name in NAMES[2:]:
        (root / "img_celeba" / name).unlink()
    assert ids(open_source(str(root), allow_subset=True)) == ["000001", "000002"]


def test_a_shortened_list_is_used_when_allowed(root):
    write_landmarks(root, NAMES[:4], declared=202599)
    assert ids(open_source(str(root), allow_subset=True)) == ["000001", "000002", "000003", "000004"]


def test_a_subset_of_nothing_is_refused(root):
    write_landmarks(root, ["000100.jpg"])
    assert "lists none of the 6 pictures" in error(root, allow_subset=True)


# ---- malformed tables


def change_line(root, name, number, text):
    path = root / name
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "line",
    [
        "000002.jpg 1 2 3 4 5 6 7 8 9",
        "000002.jpg 1 2 3 4 5 6 7 8 9 10 11",
        "000002.jpg 1 2 3 4 5 6 7 8 9 ten",
        "000002.jpg 1 2 3 4 5 6 7 8 9 nan",
        "000002.jpg 1 2 3 4 5 6 7 8 9 inf",
        "2 1 2 3 4 5 6 7 8 9 10",
        "000002.jpg",
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(root, line):
    change_line(root, "Anno/list_landmarks_celeba.txt", 4, line)
    message = error(root)
    assert "list_landmarks_celeba.txt, line 4: must hold a .jpg name and 10 numbers" in message
    assert f'got "{line}"' in message


def test_attributes_must_be_whole_numbers(root):
    change_line(root, "Anno/list_attr_celeba.txt", 3, "000001.jpg 1 0.5")
    assert "list_attr_celeba.txt, line 3" in error(root)


def test_a_headless_table_counts_lines_from_its_first(root):
    change_line(root, "Anno/identity_CelebA.txt", 1, "000001.jpg someone")
    assert "identity_CelebA.txt, line 1: must hold a .jpg name and 1 number," in error(root)


def test_a_repeated_picture_is_refused(root):
    change_line(root, "Anno/list_landmarks_celeba.txt", 5, landmark_row("000001.jpg"))
    assert "line 5: lists 000001.jpg a second time" in error(root)


@pytest.mark.parametrize("text", ["", "not a table", "6\n"])
def test_a_table_without_its_head_is_refused(root, text):
    (root / "Anno" / "list_landmarks_celeba.txt").write_text(text)
    assert "line 1: must be the number of rows" in error(root)


def test_landmarks_of_another_number_of_columns_are_refused(root):
    change_line(root, "Anno/list_landmarks_celeba.txt", 2, "lefteye_x lefteye_y")
    assert "list_landmarks_celeba.txt, line" in error(root)


def test_a_column_named_twice_is_refused(root):
    change_line(root, "Anno/list_attr_celeba.txt", 2, "Smiling identity")
    assert "a column is named twice" in error(root)
