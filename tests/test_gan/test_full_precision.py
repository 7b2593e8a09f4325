"""What stays float32 where autocast would shorten it."""

import pytest
import torch

from gan.layers import full_precision
from gan.zoo import Shape, build_generator

STYLE = Shape(architecture="style", resolution=8, latent=8, most_maps=8, map_budget=64, mapping_layers=4)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_products_keep_float32_inside():
    rows = torch.randn(8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outside = rows @ rows
        with full_precision(rows):
            inside = rows @ rows
    assert (outside.dtype, inside.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(inside, rows @ rows)


def test_without_autocast_nothing_is_entered():
    rows = torch.randn(8, 8)
    with full_precision(rows):
        assert torch.equal(rows @ rows, rows @ rows)
        assert not torch.is_autocast_enabled("cpu")


def test_styles_keep_float32_under_autocast():
    generator, latents = build_generator("style", shape=STYLE).eval(), torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        styles = generator.styles(latents)
    assert torch.equal(styles, generator.styles(latents))
