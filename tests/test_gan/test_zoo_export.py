"""What a training of any architecture leaves behind can be drawn from: exported, walked through, and filmed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_gan import CPU, small_pictures
from small_zoo import GAMES, zoo_config, zoo_pair

from gan.checkpoint import Snapshot, latest_checkpoint, load_snapshot
from gan.export import export_generator
from gan.looks import usual_looks
from gan.sample import generate, latents_of
from gan.timelapse import find_samples, time_lapse
from gan.training_run import run_training
from gan.walk import draw_walk, smoothed_walk
from hqdata.training.runlog import read_log

SHOWN = [8, 16, 24]
LAST_CAPTIONS = {
    "progan": ["0.0 kimg", "8 px", "fade 0.20"],
    "dcgan": ["0.0 kimg", "16 px", "stable"],
    "resnet": ["0.0 kimg", "16 px", "stable"],
    "selfmod": ["0.0 kimg", "16 px", "stable"],
    "sagan": ["0.0 kimg", "16 px", "stable"],
    "style": ["0.0 kimg", "8 px", "fade 0.20"],
}
LABELS = [3, pytest.param(0, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=GAMES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, called as the architecture, of a training that looked at its pictures three times."""
    folder = tmp_path_factory.mktemp("trained") / request.param
    config = zoo_config(request.param, schedule={"total_images": 24, "tick_images": 8})
    assert run_training(config, small_pictures(), folder, machine=CPU, looks=usual_looks(CPU)[:1])
    return folder


def test_a_training_looks_at_its_pictures_and_goes_back_to_no_checkpoint(run: Path):
    """Statistics that had begun with 0 and 1 made a DCGAN's first pictures all grey, which is a collapse."""
    lines, folder = read_log(run / "runlog.jsonl"), latest_checkpoint(run)
    assert folder is not None
    assert json.loads((folder / "state.json").read_text())["attempt"] == 0
    assert [line["images"] for line in lines] == SHOWN
    assert {"level", "fade", "spread", "swd", "score", "generator"} <= lines[-1].keys()


def test_a_film_shows_every_sheet(run: Path):
    samples = find_samples(run)
    assert [sample.images for sample in samples] == SHOWN
    assert samples[-1].caption.split("   ")[:3] == LAST_CAPTIONS[run.name]
    frames = list(time_lapse(run, seconds=1, frames_a_second=4))
    assert len(frames) == 4
    assert not np.array_equal(frames[0], frames[-1])


def test_a_walk_is_drawn_at_the_size_that_the_training_reached(run: Path):
    snapshot = load_snapshot(run)
    walk = smoothed_walk(3, 2, 8, smoothing_frames=1.0, seed=0)
    frames = list(draw_walk(snapshot.generator, walk, level=snapshot.level, fade=snapshot.fade, columns=2, height=16))
    assert [frame.shape for frame in frames] == [(16, 32, 3)] * 3
    assert not np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", GAMES)
def test_an_exported_program_draws_the_same_from_any_number_of_latents(tmp_path: Path, name: str, labels: int):
    given = _snapshot_of(name, labels)
    parity = export_generator(given, tmp_path / "g.pt2", "torch-export")
    assert parity.greatest <= parity.allowed == 1e-6
    facts = {"progan-hq.json": ""}
    program = torch.export.load(tmp_path / "g.pt2", extra_files=facts).module()
    assert json.loads(facts["progan-hq.json"])["architecture"] == name
    inputs = _inputs(5, labels)
    torch.testing.assert_close(program(*inputs), given.generator(*inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("labels", [0, 3])
@pytest.mark.parametrize("name", GAMES)
def test_exported_weights_draw_the_same(tmp_path: Path, name: str, labels: int):
    given = _snapshot_of(name, labels)
    assert export_generator(given, tmp_path / "g.safetensors", "safetensors").greatest == 0.0
    read = load_snapshot(tmp_path / "g.safetensors")
    assert read.generator.shape == given.generator.shape
    assert torch.equal(generate(read.generator, *_inputs(5, labels)), generate(given.generator, *_inputs(5, labels)))


@pytest.mark.reference
@pytest.mark.parametrize("labels", [0, 3])
@pytest.mark.parametrize("name", GAMES)
def test_an_onnx_file_draws_the_same_from_any_number_of_latents(tmp_path: Path, name: str, labels: int):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    given = _snapshot_of(name, labels)
    assert export_generator(given, tmp_path / "g.onnx", "onnx").greatest <= 1e-4
    onnx.checker.check_model(tmp_path / "g.onnx")
    session, inputs = runtime.InferenceSession(tmp_path / "g.onnx"), _inputs(5, labels)
    (drawn,) = session.run(None, dict(zip(("latents", "labels"), (i.numpy() for i in inputs), strict=False)))
    np.testing.assert_allclose(drawn, given.generator(*inputs).numpy(), rtol=0, atol=1e-4)


def _snapshot_of(name: str, labels: int) -> Snapshot:
    generator, _ = zoo_pair(name, labels=labels)
    return Snapshot(generator=generator.eval().requires_grad_(False), level=4, fade=1.0, images=1234, sha256="0")


def _inputs(count: int, labels: int) -> tuple[torch.Tensor, ...]:
    return (latents_of(range(count), 8), torch.eye(3)[torch.arange(count) % 3])[: 2 if labels else 1]
