"""Pixels survive every crossing: to the networks' tensors and back, to PNG and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from hqdata.pixels import to_image, to_pixel_values, to_tensor


def small():
    return np.ascontiguousarray(astronaut()[80:128:2, 200:264:2])


def encode(image, kind):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


# ---- tensors


def test_all_256_values_survive_the_round_trip():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    tensor = to_tensor(image)
    assert np.array_equal(to_image(tensor), image)
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)


def test_tensor_has_channels_first():
    tensor = to_tensor(small())
    assert (tuple(tensor.shape), tensor.dtype) == ((1, 3, 24, 32), torch.float32)
    assert tensor[0, 2, 5, 7] == pytest.approx(small()[5, 7, 2] / 127.5 - 1)
    assert tensor.is_contiguous()


@pytest.mark.parametrize(("value", "expected"), [(0.0, 128), (0.003, 128), (-0.005, 127), (-1.2, 0), (1.5, 255)])
def test_levels_are_rounded_and_clipped(value, expected):
    assert to_image(torch.full((1, 3, 1, 1), value)).tolist() == [[[expected] * 3]]


def test_pixel_values_are_not_rounded():
    values = to_pixel_values(torch.full((1, 3, 2, 5), 0.001))
    assert (values.shape, values.dtype) == ((2, 5, 3), np.float32)
    assert values[0, 0, 0] == pytest.approx(127.6275)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_image(torch.full((1, 3, 2, 2), bad))


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4)])
def test_wrong_tensor_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(1, 3, h, w\)"):
        to_pixel_values(torch.zeros(shape))
