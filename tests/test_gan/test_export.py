"""What is exported draws what the generator draws, for any number of latents, or is not written."""

import json

import numpy as np
import pytest
import torch

from gan import export
from gan.checkpoint import Snapshot, load_snapshot
from gan.export import FORMATS, SUFFIXES, ExportError, export_generator
from gan.sample import generate, latents_of
from gan.zoo import Shape, build_generator


def snapshot_of(*, labels=0, level=4, fade=0.25, scaling="fused"):
    torch.manual_seed(0)
    shape = Shape(resolution=16, latent=8, most_maps=8, map_budget=64, labels=labels, scaling=scaling)
    generator = build_generator("progan", shape=shape).eval().requires_grad_(False)
    return Snapshot(generator=generator, level=level, fade=fade, images=1234, sha256="0")


def eager(snapshot, latents, labels=None):
    return snapshot.generator(latents, labels, snapshot.level, snapshot.fade)


def test_exported_weights_say_what_they_are(tmp_path):
    given = snapshot_of()
    parity = export_generator(given, tmp_path / "g.safetensors", "safetensors")
    assert parity.greatest == 0.0
    read = load_snapshot(tmp_path / "g.safetensors")
    assert (read.level, read.fade, read.images) == (4, 0.25, 1234)
    latents = latents_of(range(3), 8)
    assert torch.equal(generate(read.generator, latents), generate(given.generator, latents))


@pytest.mark.parametrize(
    "options", [{}, {"labels": 3}, {"level": 3, "fade": 1.0, "scaling": "separate"}, {"level": 2, "fade": 1.0}]
)
def test_an_exported_program_draws_the_same_from_any_number_of_latents(tmp_path, options):
    given = snapshot_of(**options)
    parity = export_generator(given, tmp_path / "g.pt2", "torch-export")
    assert parity.greatest <= parity.allowed == 1e-6
    program = torch.export.load(tmp_path / "g.pt2").module()
    inputs = (latents_of(range(5), 8), torch.eye(3)[[0, 1, 2, 0, 1]])[: 2 if given.generator.shape.labels else 1]
    torch.testing.assert_close(program(*inputs), eager(given, *inputs), rtol=0, atol=1e-6)


def test_a_program_says_what_it_is(tmp_path):
    export_generator(snapshot_of(), tmp_path / "g.pt2", "torch-export")
    facts = {"progan-hq.json": ""}
    torch.export.load(tmp_path / "g.pt2", extra_files=facts)
    assert json.loads(facts["progan-hq.json"])["images"] == 1234


@pytest.mark.reference
@pytest.mark.parametrize("labels", [0, 3])
def test_an_onnx_file_draws_the_same_from_any_number_of_latents(tmp_path, labels):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    given = snapshot_of(labels=labels)
    parity = export_generator(given, tmp_path / "g.onnx", "onnx")
    assert parity.greatest <= 1e-4
    onnx.checker.check_model(tmp_path / "g.onnx")
    session = runtime.InferenceSession(tmp_path / "g.onnx")
    inputs = (latents_of(range(5), 8), torch.eye(3)[[0, 1, 2, 0, 1]])[: 2 if labels else 1]
    (drawn,) = session.run(None, dict(zip(("latents", "labels"), (i.numpy() for i in inputs), strict=False)))
    # another runtime adds up in another order; pictures are within some -3..3
    np.testing.assert_allclose(drawn, eager(given, *inputs).numpy(), rtol=0, atol=1e-4)


def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"needs the package onnx: pip install 'progan-hq\[onnx\]'"):
        export_generator(snapshot_of(), tmp_path / "g.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("added", [1e-3, float("nan")])
@pytest.mark.parametrize("kind", ["safetensors", "torch-export"])
def test_a_file_that_draws_something_else_is_not_kept(tmp_path, monkeypatch, kind, added):
    def another(snapshot, path):
        path.write_bytes(b"a file")
        return lambda *inputs: eager(snapshot, *inputs).numpy() + np.float32(added), "a broken program"

    for name in ("_write_safetensors", "_write_program"):
        monkeypatch.setattr(export, name, another)
    with pytest.raises(ExportError, match=r"a broken program differ by up to .* it was not kept"):
        export_generator(snapshot_of(), tmp_path / f"g{SUFFIXES[kind]}", kind)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_knows_one_number_of_latents_alone_is_not_kept(tmp_path, monkeypatch):
    def rigid(snapshot, path):
        return lambda *inputs: eager(snapshot, inputs[0][:1]).numpy(), "a rigid program"

    monkeypatch.setattr(export, "_write_program", rigid)
    with pytest.raises(ExportError, match=r"for 3 latents it draws pictures of shape \(1, 3, 16, 16\)"):
        export_generator(snapshot_of(), tmp_path / "g.pt2", "torch-export")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_name_of_another_kind_is_refused(tmp_path, kind):
    with pytest.raises(ValueError, match=rf"must end in \{SUFFIXES[kind]}"):
        export_generator(snapshot_of(), tmp_path / "g.bin", kind)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be one of safetensors, torch-export, onnx, got 'tflite'"):
        export_generator(snapshot_of(), tmp_path / "g.tflite", "tflite")
