"""The shipped networks give the same picture whole and in tiles.

Three ways to the same pixels: one lattice asked for in pieces, another lattice, and one forward pass over the whole
picture. The first is equal by construction on every machine. The others rest on convolutions that add in the
same order for every input shape: torch's do on processors with AVX2 or AVX-512, but for a pass over a picture of three
rows; there, and with SSE4 alone, they differ by up to 5e-7, which may round one byte in a million the other way.
"""

import numpy as np
import pytest
import torch

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.precision import has_bfloat16
from hqdata.tiling import TiledPicture
from hqdata.true_colour import keep_mean_colours

RNG = np.random.default_rng(20)
SIZES = [(1, 1), (7, 513), (2049, 33), (1, 2), (2, 1), (3, 200)] + [
    (int(height), int(width)) for height, width in RNG.integers(1, 130, (14, 2))
]
LOADERS = {"restore": restore.load, "upscale": upscale.load}


@pytest.fixture(scope="module", params=LOADERS)
def network(request):
    return LOADERS[request.param]()


def photo(height, width):
    """Levels of a noisy gradient, so that flat and busy parts occur."""
    rng = np.random.default_rng(height * 10_000 + width)
    rows, columns = np.mgrid[:height, :width] / 64
    smooth = 128 + 90 * np.sin(np.stack([rows + columns, rows - columns, 2 * rows], axis=2))
    noise = rng.normal(0, 20, (height, width, 3)) * (np.sin(3 * columns) > 0)[:, :, None]
    return np.clip(np.rint(smooth + noise), 0, 255).astype(np.uint8)


def one_pass(image, network):
    """The result of one forward pass over the whole picture, continued to the network's stride by its mirror image."""
    height, width = image.shape[:2]
    rim = ((0, -height % network.stride), (0, -width % network.stride), (0, 0))
    given = to_tensor(np.pad(image, rim, "reflect")).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        output = network.module(given)
        if network.scale > 1:
            output = keep_mean_colours(output, given)
    return output[:, :, : height * network.scale, : width * network.scale]


def assert_same_picture(one, two):
    """Bytes may differ only where the level, 0..255, is as near to half a level as sums differ by their order."""
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    levels = (one[0].permute(1, 2, 0).double() * 127.5 + 127.5).numpy()
    undecided = np.abs(levels % 1 - 0.5) < 1e-6 * 127.5
    assert np.array_equal(to_image(one)[~undecided], to_image(two)[~undecided])
    assert undecided.sum() <= 1 + undecided.size // 1000


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_tiles_give_the_picture_that_one_pass_over_the_whole_gives(network, size):
    image = photo(*size)
    assert_same_picture(TiledPicture(to_tensor(image), network, tile=64).whole(), one_pass(image, network))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES[3:10], ids=lambda size: "x".join(map(str, size)))
def test_another_lattice_gives_the_same_picture(network, size):
    image = to_tensor(photo(*size))
    here = TiledPicture(image, network, tile=64).whole()
    there = TiledPicture(image, network, tile=48, anchor=(10, 26)).whole()
    assert_same_picture(here, there)


@pytest.mark.parametrize("size", [(1, 1), (33, 70)], ids=["1x1", "33x70"])
def test_small_pictures_are_the_same_whole_and_in_tiles(network, size):
    image = photo(*size)
    assert_same_picture(TiledPicture(to_tensor(image), network, tile=32).whole(), one_pass(image, network))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_regions_in_any_order_equal_the_whole_bit_for_bit(load, precision):
    if precision == "bfloat16" and not has_bfloat16("cpu"):
        pytest.skip("the processor has no bfloat16 instructions")
    network = load(precision=precision)
    image = to_tensor(photo(70, 110))
    whole = TiledPicture(image, network, tile=32).whole()
    boxes = [(80, 40, 110, 70), (0, 0, 1, 1), (31, 31, 97, 33), (5, 60, 64, 70)]
    pieces = TiledPicture(image, network, tile=32)
    regions = [pieces.region(box) for box in boxes]
    expected = [whole[:, :, s * t : s * b, s * l : s * r] for s in [network.scale] for l, t, r, b in boxes]  # noqa: E741
    assert all(map(torch.equal, regions, expected))


def test_what_lies_beyond_the_reach_does_not_change_a_bit(network):
    image = to_tensor(photo(40, 200))
    companion = image.clone()
    companion[:, :, :, 100:] = companion[:, :, :, 100:].flip(3)
    box = (0, 0, 32, 32)
    assert torch.equal(
        TiledPicture(image, network, tile=32).region(box), TiledPicture(companion, network, tile=32).region(box)
    )


def test_pictures_computed_before_do_not_change_a_bit(network):
    image, other = to_tensor(photo(20, 20)), to_tensor(photo(21, 19))
    alone = TiledPicture(image, network, tile=32).whole()
    TiledPicture(other, network, tile=32).whole()
    assert torch.equal(TiledPicture(image, network, tile=32).whole(), alone)


@pytest.mark.gpu
@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_gpu_computes_in_float32_what_the_cpu_computes(load):
    image = to_tensor(photo(70, 110))
    on_gpu = TiledPicture(image, load(device="cuda"), tile=32)
    exact = TiledPicture(image, load(), tile=32).whole()
    torch.testing.assert_close(on_gpu.whole(), exact, atol=1e-4, rtol=0)  # TF32 would be off by 1e-3
    again = TiledPicture(image, load(device="cuda"), tile=32)
    assert torch.equal(again.region((40, 10, 90, 60)), on_gpu.region((40, 10, 90, 60)))
