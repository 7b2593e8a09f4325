"""Laws of what is told about sets of pictures, alone and beside each other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrics.sources import contrast, open_source
from metrics.sources.summary import Summary

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def folder_of(path, kinds, **options):
    path.mkdir(parents=True)
    for i, kind in enumerate(kinds):
        Image.fromarray(PICTURE + np.uint8(i)).save(path / f"{i}.{kind}", **options)
    return open_source(path).summary()


def test_formats_and_quality_are_counted(tmp_path: Path):
    summary = folder_of(tmp_path / "a", ["png", "jpg", "jpg"], quality=83)
    assert summary.formats == {"JPEG": 2, "PNG": 1}
    assert summary.jpeg_quality == (83, 83, 83)


def test_a_mixture_of_formats_is_told(tmp_path: Path):
    (note,) = folder_of(tmp_path / "a", ["png", "jpg", "jpg"]).notes
    assert "2 of 3 pictures are JPEG" in note


def test_exact_copies_of_files_are_told_by_name(tmp_path: Path):
    folder_of(tmp_path / "a", ["png", "png"])
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    (note,) = open_source(tmp_path / "a").notes()
    assert "1 of 3 pictures are exact copies of others (first 0.png and 2.png)" in note


def test_grey_files_are_told_by_name(tmp_path: Path):
    folder_of(tmp_path / "a", ["png"])
    Image.fromarray(PICTURE[:, :, 0]).save(tmp_path / "a" / "1.png")
    (note,) = open_source(tmp_path / "a").notes()
    assert "1 of 2 pictures are grey; their one channel was repeated (first 1.png)" in note


def test_jpeg_against_png_is_told(tmp_path: Path):
    (note,) = contrast(folder_of(tmp_path / "a", ["jpg", "jpg"]), folder_of(tmp_path / "b", ["png", "png"]))
    assert "reference is 2 JPEG, generated is 2 PNG" in note


def test_jpeg_against_pixels_from_memory_is_told(tmp_path: Path):
    (note,) = contrast(folder_of(tmp_path / "a", ["jpg"]), open_source(PICTURE[None]).summary())
    assert "generated is pixels from memory" in note


@pytest.mark.parametrize(("quality", "told"), [(90, 0), (92, 0), (75, 1)])
def test_another_quality_of_jpeg_is_told(tmp_path: Path, quality, told):
    one, other = folder_of(tmp_path / "a", ["jpg"], quality=90), folder_of(tmp_path / "b", ["jpg"], quality=quality)
    assert len(contrast(one, other)) == told


def test_other_sizes_are_told():
    one, other = (Summary(name="", count=1, sizes={size: 1}) for size in ((8, 8), (16, 16)))
    (note,) = contrast(one, other)
    assert "reference has pictures of 8 x 8, generated of 16 x 16" in note


def test_many_sizes_are_told_briefly():
    one = Summary(name="", count=9, sizes={(8, side): 1 for side in range(1, 10)})
    (note,) = contrast(one, Summary(name="", count=1, sizes={(8, 8): 1}))
    assert "8 x 1, 8 x 2, 8 x 3 and 6 other sizes" in note


def test_sets_stored_alike_need_no_words(tmp_path: Path):
    assert contrast(folder_of(tmp_path / "a", ["png"]), folder_of(tmp_path / "b", ["png"])) == []
