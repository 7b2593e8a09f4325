"""Videos hold the frames that were given, in their order, or do not exist."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from gan import video
from gan.video import SUFFIXES, VideoError, write_video


def frames_of(count, height=24, width=32):
    """Return frames of one grey each, far enough apart that no codec mixes them up."""
    return [np.full((height, width, 3), 20 + 200 * number // count, dtype=np.uint8) for number in range(count)]


def read(path):
    """Return frames, RGB, and frames a second as the file says."""
    if path.suffix == ".mp4":
        capture = cv2.VideoCapture(str(path))
        count, speed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        return [capture.read()[1][:, :, ::-1] for _ in range(count)], speed
    with Image.open(path) as image:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        return frames, 1000 / image.info["duration"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_holds_its_frames(tmp_path, suffix):
    given = frames_of(10)
    write_video(tmp_path / f"a{suffix}", iter(given), frames_a_second=20)
    frames, speed = read(tmp_path / f"a{suffix}")
    assert len(frames) == 10
    assert speed == pytest.approx(20)
    lossy = 8 if suffix == ".mp4" else 0  # quantisation; frames are 20 apart
    np.testing.assert_allclose(np.stack(frames).astype(int), np.stack(given), atol=lossy)


def test_colours_come_back_in_their_order(tmp_path):
    frame = np.zeros((16, 16, 3), dtype=np.uint8)
    frame[:, :, 0] = 200
    write_video(tmp_path / "a.mp4", [frame] * 3, frames_a_second=10)
    red, green, blue = read(tmp_path / "a.mp4")[0][0].reshape(-1, 3).mean(axis=0)
    assert red > 150 > 50 > max(green, blue)


def test_an_odd_side_is_lengthened_for_mp4(tmp_path):
    write_video(tmp_path / "a.mp4", frames_of(3, height=15, width=17), frames_a_second=10)
    assert read(tmp_path / "a.mp4")[0][0].shape == (16, 18, 3)


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_frame_that_is_held_is_stored_once_and_shown_as_long(tmp_path, monkeypatch, suffix):
    one, other = frames_of(2)
    monkeypatch.setattr(video, "LIMIT_BYTES", 2 * one.nbytes)
    write_video(tmp_path / f"a{suffix}", [one] * 7 + [other.copy() for _ in range(3)], frames_a_second=10)
    with Image.open(tmp_path / f"a{suffix}") as image:
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert shown == [700, 300]


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_gif_and_an_animated_png_repeat_for_ever(tmp_path, suffix):
    write_video(tmp_path / f"a{suffix}", frames_of(3), frames_a_second=10)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([], "at least one frame"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "frame 1 must be"),
        ([np.zeros((8, 8, 3), np.float32)], "uint8"),
        ([np.zeros((8, 8), np.uint8)], "frame 0 must be"),
    ],
)
def test_wrong_frames_leave_no_file(tmp_path, suffix, frames, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_video(tmp_path / f"a{suffix}", frames, frames_a_second=10)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_frames_fail(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"earlier")

    def failing():
        yield from frames_of(2)
        raise RuntimeError("the generator failed")

    with pytest.raises(RuntimeError, match="the generator failed"):
        write_video(tmp_path / "a.gif", failing(), frames_a_second=10)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"earlier"]


@pytest.mark.parametrize("name", ["a.avi", "a", "a.png"])
def test_another_suffix_is_refused_by_name(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.mp4, \.gif, \.apng"):
        write_video(tmp_path / name, frames_of(1), frames_a_second=10)


@pytest.mark.parametrize(("name", "speed"), [("a.gif", 60), ("a.mp4", 0), ("a.apng", -1)])
def test_a_speed_that_no_player_shows_is_refused(tmp_path, name, speed):
    with pytest.raises(ValueError, match="frames_a_second"):
        write_video(tmp_path / name, frames_of(1), frames_a_second=speed)


def test_a_missing_codec_is_said_with_what_helps(tmp_path, monkeypatch):
    class Closed:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

        def release(self):
            pass

    monkeypatch.setattr(video.cv2, "VideoWriter", Closed)
    with pytest.raises(VideoError, match=r"codec mp4v; write \.gif"):
        write_video(tmp_path / "a.mp4", frames_of(1), frames_a_second=10)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "LIMIT_BYTES", 5000)
    with pytest.raises(ValueError, match=r"write \.mp4"):
        write_video(tmp_path / "a.gif", frames_of(3), frames_a_second=10)
    assert list(tmp_path.iterdir()) == []
