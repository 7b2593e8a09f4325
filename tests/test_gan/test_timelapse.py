"""The film of a training shows its sheets in order, with what the schedule was doing."""

import json

import numpy as np
import pytest

from gan.config import GanConfig
from gan.schedule import Schedule
from gan.timelapse import find_samples, time_lapse
from gan.zoo import Shape
from hqdata.png import encode_png

CONFIG = GanConfig(
    networks=Shape(resolution=16, latent=8, most_maps=8, map_budget=64),
    schedule=Schedule(total_images=6000, stable_images=1000, fade_images=1000, minibatch_at={16: 8}),
)
GREYS = {500: 10, 1500: 60, 2500: 110, 6000: 240}
"""Of the sheets by images shown: at 4 px, half faded in, at 8 px, at the end."""


def write_sheet(run, images, grey, size=(32, 64)):
    (run / "samples").mkdir(parents=True, exist_ok=True)
    path = run / "samples" / f"{images:012d}.png"
    path.write_bytes(encode_png(np.full((*size, 3), grey, dtype=np.uint8)))
    return path


@pytest.fixture
def run(tmp_path):
    for images, grey in GREYS.items():
        write_sheet(tmp_path, images, grey)
    identity = {"config": CONFIG.to_dict(), "pictures": "0"}
    (tmp_path / "run.json").write_text(json.dumps({"identity": identity, "versions": {}}))
    lines = [{"images": images, "seconds": images * 3.6} for images in GREYS]
    (tmp_path / "runlog.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def greys_of(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def test_captions_say_what_the_schedule_was_doing(run):
    assert [sample.caption for sample in find_samples(run)] == [
        "0.5 kimg   4 px   stable   0.50 h",
        "1.5 kimg   8 px   fade 0.50   1.50 h",
        "2.5 kimg   8 px   stable   2.50 h",
        "6.0 kimg   16 px   stable   6.00 h",
    ]


def test_a_film_shows_every_sheet_in_order_from_the_first_to_the_last(run):
    greys = greys_of(time_lapse(run, seconds=4, frames_a_second=10))
    assert len(greys) == 40
    assert (greys[0], greys[-1]) == (10, 240)
    assert sorted(greys) == greys
    assert set(greys) == set(GREYS.values())


def test_a_larger_warp_lingers_on_the_beginning(run):
    even, warped = (greys_of(time_lapse(run, seconds=10, frames_a_second=10, warp=warp)) for warp in (1.0, 3.0))
    assert even.count(10) < warped.count(10)


def test_the_caption_and_the_bar_are_below_the_pictures(run):
    *_, frame = time_lapse(run, seconds=1, frames_a_second=5)
    sheet, strip = frame[:-36], frame[-36:]
    assert (sheet == 240).all()
    assert (strip[0] == 235).all()  # the bar is full at the end
    assert len(np.unique(strip)) > 10  # letters with soft edges


def test_frames_have_one_even_size(run):
    shapes = {frame.shape for frame in time_lapse(run, seconds=2, frames_a_second=10)}
    assert len(shapes) == 1
    assert [side % 2 for side in shapes.pop()[:2]] == [0, 0]


def test_large_sheets_are_reduced_to_a_screen(run):
    for path in (run / "samples").glob("*.png"):
        path.unlink()
    write_sheet(run, 500, 99, size=(2048, 4096))
    frame = next(time_lapse(run, seconds=1, frames_a_second=2))
    assert frame.shape[1] == 1920
    assert frame.shape[0] < 1200


def test_a_training_that_was_killed_is_shown(run):
    log = run / "runlog.jsonl"
    log.write_text(log.read_text().splitlines(True)[0] + '{"images": 1500, "sec')
    write_sheet(run, 3000, 150)  # drawn, not yet logged
    assert [sample.seconds for sample in find_samples(run)] == [1800.0, None, None, None, None]
    assert greys_of(time_lapse(run, seconds=4, frames_a_second=10)).count(150)


def test_a_training_without_a_log_is_shown(run):
    (run / "runlog.jsonl").unlink()
    assert find_samples(run)[0].caption == "0.5 kimg   4 px   stable"


def test_one_sheet_is_a_film(run):
    for path in sorted((run / "samples").glob("*.png"))[1:]:
        path.unlink()
    assert set(greys_of(time_lapse(run, seconds=1, frames_a_second=5))) == {10}


def test_a_folder_without_sheets_says_so(run):
    for path in (run / "samples").glob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"has no sheets in samples/ yet"):
        find_samples(run)


@pytest.mark.parametrize(("content", "sentence"), [(None, "it is no training"), ('{"identity": {}}', "GAN's training")])
def test_a_folder_of_something_else_is_refused_by_name(run, content, sentence):
    if content is None:
        (run / "run.json").unlink()
    else:
        (run / "run.json").write_text(content)
    with pytest.raises(ValueError, match=sentence) as error:
        find_samples(run)
    assert str(run) in str(error.value)


def test_a_damaged_sheet_is_named(run):
    path = run / "samples" / "000000001500.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"000000001500\.png"):
        list(time_lapse(run, seconds=1))


def test_a_sheet_of_another_size_is_named(run):
    write_sheet(run, 2000, 80, size=(16, 64))
    with pytest.raises(ValueError, match=r"000000002000\.png: has 64 x 16"):
        list(time_lapse(run, seconds=1))


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"frames_a_second": -1}, {"warp": 0}])
def test_an_impossible_film_is_refused(run, wrong):
    with pytest.raises(ValueError, match="must be positive"):
        time_lapse(run, **wrong)
