"""TensorBoard shows what the log holds, also after kills and roll-backs; the package itself need not be there."""

import json
import sys
import types

import numpy as np
import pytest

from gan.tensorboard_mirror import FOLDER, TensorBoardMirror
from hqdata.png import encode_png


@pytest.fixture
def events(monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append(("from", purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step, value))

        def add_image(self, name, image, step, dataformats):
            assert dataformats == "HWC"
            written.append((name, step, image.shape))

        def flush(self):
            pass

        def close(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return written


def write_log(run, *images, cut=""):
    (run / "runlog.jsonl").write_text("".join(json.dumps({"images": n, "loss": n / 8}) + "\n" for n in images) + cut)


def test_lines_are_shown_once_each(tmp_path, events):
    mirror = TensorBoardMirror(tmp_path)
    mirror(None)  # the first tick comes before the first line
    assert events == []
    write_log(tmp_path, 100)
    mirror(None)
    write_log(tmp_path, 100, 200, cut='{"images": 300')
    mirror(None)
    mirror.close()
    assert events == [("from", 0), ("loss", 100, 12.5), ("loss", 200, 25.0)]


def test_sheets_are_shown_with_their_line(tmp_path, events):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "000000000100.png").write_bytes(encode_png(np.zeros((4, 6, 3), np.uint8)))
    write_log(tmp_path, 100)
    TensorBoardMirror(tmp_path).close()
    assert ("samples", 100, (4, 6, 3)) in events


def test_a_resumed_training_goes_on_from_its_last_line(tmp_path, events):
    (tmp_path / FOLDER).mkdir()
    write_log(tmp_path, 100, 200)
    TensorBoardMirror(tmp_path).close()
    assert events == [("from", 200), ("loss", 200, 25.0)]


def test_a_roll_back_takes_back_what_was_shown(tmp_path, events):
    mirror = TensorBoardMirror(tmp_path)
    write_log(tmp_path, 100, 200, 300)
    mirror(None)
    write_log(tmp_path, 100)
    mirror(None)
    write_log(tmp_path, 100, 200)
    mirror.close()
    assert events[4:] == [("from", 101), ("loss", 200, 25.0)]


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_files(tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_log(tmp_path, 100, 200)
    TensorBoardMirror(tmp_path).close()
    read = loading.EventAccumulator(str(tmp_path / FOLDER))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(100, 12.5), (200, 25.0)]
