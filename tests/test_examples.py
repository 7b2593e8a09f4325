"""The scripts in examples/ run and do what they say."""

import dataclasses
import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from hqdata.png import decode_png
from hqdata.quality import spectral_parts

ROOT = Path(__file__).parents[1]
GOLDEN_RUN = ROOT / "tests" / "golden" / "run-v1"


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(name: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    assert [path.stem for path in (ROOT / "examples").glob("*.py") if f'run_example("{path.stem}"' not in here] == []


def test_read_shards_reads_every_picture_once(run_example):
    index = json.loads((GOLDEN_RUN / "tensors" / "index.json").read_text())
    lines = run_example("read_shards", GOLDEN_RUN, "--resolution", 8, "--batch", 2)
    assert lines[0] == f"{index['num_rows']} pictures of 8 px"
    assert sum(line.startswith("batch (") for line in lines) == -(-index["num_rows"] // 2)
    assert lines[-2].startswith(f"mean colour of {index['num_rows']} pictures: ")
    assert lines[-1].startswith(f"picture 0 is {index['ids'][0]}: rank {index['ranks'][0]}, ")


def test_crop_one_photo_writes_the_crop_that_it_scores(run_example, tmp_path: Path):
    photo, crop = tmp_path / "astronaut.png", tmp_path / "crop.png"
    Image.fromarray(data.astronaut()).save(photo)
    lines = run_example("crop_one_photo", photo, crop, "--size", 256)
    pixels = decode_png(crop.read_bytes())
    assert pixels.shape == (256, 256, 3)
    assert lines[0].startswith("1 face(s)")
    assert lines[1].endswith("restored True, enlarged 4 times")
    assert lines[2:] == [f"{part} {value:.4f}" for part, value in dataclasses.asdict(spectral_parts(pixels)).items()]


def test_crop_one_photo_says_when_there_is_no_face(run_example, tmp_path: Path):
    photo = tmp_path / "grey.png"
    Image.new("RGB", (90, 80), (128, 128, 128)).save(photo)
    with pytest.raises(SystemExit, match="no face found"):
        run_example("crop_one_photo", photo, tmp_path / "crop.png")
    assert not (tmp_path / "crop.png").exists()


@pytest.mark.slow
def test_train_small_goes_from_photos_to_an_exported_generator(run_example, tmp_path: Path):
    lines = run_example("train_small", tmp_path / "all", "--photos", 12, "--images", 480, "--maps", 16)
    killed = next(line for line in lines if line.startswith("killed; "))
    assert 0 < int(killed.split()[-2]) < 480
    log = (tmp_path / "all" / "training" / "runlog.jsonl").read_text().splitlines()
    shown = [json.loads(line)["images"] for line in log]
    assert shown == sorted(set(shown))
    assert shown[-1] == 480
    assert {"samples.png", "interpolation.mp4", "timelapse.mp4", "generator.pt2"} <= {
        path.name for path in (tmp_path / "all").iterdir()
    }
    assert any(line.startswith("SWD x1e3 ") for line in lines)
    assert any(line.startswith("greatest difference 0 ") for line in lines)
