"""A tile is refused only when nothing helps: float32 after NaN, smaller pieces when memory runs out."""

import logging

import pytest
import torch
from torch import nn

from hqdata.record import Refused
from hqdata.run_tile import TileRunner, margin_of
from hqdata.tiling import Network, TiledPicture
from hqdata.true_colour import COLOUR_REACH
from hqdata.upscale.model import UpscaleGenerator

ALLOCATOR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Limited(nn.Module):
    """Averages neighbours; raises `error` for windows of more than `limit` pixels a side, and counts its calls."""

    def __init__(self, error=None, limit=0):
        super().__init__()
        self.error, self.limit, self.sides = error, limit, []
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, picture):
        self.sides.append(picture.shape[-1])
        if self.error is not None and picture.shape[-1] > self.limit:
            raise self.error
        return self.convolution(picture)


class Overflowing(nn.Module):
    """Finite in float32 only, unless told to fail always."""

    def __init__(self, always=False):
        super().__init__()
        self.always = always
        self.convolution = nn.Conv2d(3, 3, 1)

    def forward(self, picture):
        feature = self.convolution(picture)
        return feature / 0 if self.always or feature.dtype == torch.bfloat16 else feature


def network_of(module, name, **facts):
    settings = {"scale": 1, "stride": 1, "reach": 1, "sha256": "", "device": "cpu"} | facts
    return Network(name=name, module=module.eval(), **settings)


def picture(height, width):
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize(
    "error",
    [
        ALLOCATOR,
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=["allocator", "python", "torch", "driver", "cudnn"],
)
def test_out_of_memory_is_answered_with_smaller_pieces(error):
    torch.manual_seed(0)
    module = Limited(error, limit=40)
    image = picture(100, 70)
    pieces = TiledPicture(image, network_of(module, "pieces"), tile=64).whole()
    module.error = None
    torch.testing.assert_close(pieces, TiledPicture(image, network_of(module, "whole"), tile=64).whole())


def test_the_smaller_size_is_kept_for_the_tiles_that_follow():
    module = Limited(MemoryError(), limit=40)
    TiledPicture(picture(100, 70), network_of(module, "kept"), tile=64).whole()
    assert module.sides == [66] + [34] * ((2 + 2) * (2 + 1))


def test_pieces_stay_on_the_stride_and_of_one_size():
    module = Limited(MemoryError(), limit=50)
    torch.manual_seed(0)
    image = picture(80, 80)
    facts = {"stride": 8, "reach": 8}
    pieces = TiledPicture(image, network_of(module, "stride", **facts), tile=72).whole()
    assert set(module.sides) == {80, 48}
    module.error = None
    torch.testing.assert_close(pieces, TiledPicture(image, network_of(module, "stride"), tile=72).whole())


def test_enlarged_pieces_fit_together():
    torch.manual_seed(0)
    generator = UpscaleGenerator(channels=8, pairs=1)
    nn.init.normal_(generator.tail.weight, std=0.05)
    facts = {"scale": 4, "reach": generator.reach}
    image = picture(40, 40)
    whole = TiledPicture(image, network_of(generator, "whole x4", **facts), tile=40).whole()
    head, calls = generator.head, []

    def short_of_memory(feature):
        calls.append(feature.shape[-1])
        if feature.shape[-1] > 36:
            raise MemoryError
        return head(feature)

    generator.head = _Called(short_of_memory)
    pieces = TiledPicture(image, network_of(generator, "pieces x4", **facts), tile=40).whole()
    assert calls == [40, 36, 36, 36, 36]
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


class _Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, feature):
        return self.function(feature)


def test_the_warning_names_both_sizes_once(caplog):
    module = Limited(MemoryError(), limit=40)
    network = network_of(module, "warned")
    with caplog.at_level(logging.WARNING):
        TiledPicture(picture(64, 64), network, tile=64).whole()
        TiledPicture(picture(64, 64), network, tile=64).whole()
    assert [record.getMessage() for record in caplog.records] == [
        "warned: not enough memory for tiles of 64 x 64 pixels, going on with 32 x 32; the last digits may differ"
    ]


def test_memory_that_is_short_for_the_smallest_piece_too_is_reported_as_it_is():
    error = MemoryError("really")
    module = Limited(error, limit=0)
    with pytest.raises(MemoryError) as caught:
        TiledPicture(picture(64, 64), network_of(module, "hopeless"), tile=64).whole()
    assert caught.value is error
    assert module.sides == [64, 34, 18]


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")])
def test_any_other_error_is_passed_on_untouched(error):
    module = Limited(error, limit=0)
    with pytest.raises(type(error)) as caught:
        TiledPicture(picture(64, 64), network_of(module, "other"), tile=64).whole()
    assert caught.value is error
    assert module.sides == [64]


def test_a_tile_that_overflows_in_bfloat16_runs_in_float32():
    module = Overflowing()
    image = picture(20, 20)
    exact = TiledPicture(image, network_of(module, "exact"), tile=32).whole()
    retried = TiledPicture(image, network_of(module, "retried", precision="bfloat16"), tile=32).whole()
    assert torch.equal(retried, exact)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_tile_that_is_never_finite_is_refused(precision):
    network = network_of(Overflowing(always=True), "always", precision=precision)
    with pytest.raises(Refused, match="always: the network gave NaN or infinity"):
        TiledPicture(picture(8, 8), network, tile=32).whole()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"reach": 7}, 7),
        ({"reach": 7, "stride": 4}, 8),
        ({"reach": 7, "scale": 4}, 7 + COLOUR_REACH),
        ({"reach": 100, "margin": 20}, 20),
        ({"reach": 0}, 0),
    ],
)
def test_the_margin_covers_the_reach_and_the_colours_in_whole_strides(facts, expected):
    assert margin_of(network_of(nn.Identity(), "margin", **facts)) == expected


def test_a_runner_returns_the_core_alone():
    runner = TileRunner(network_of(nn.Identity(), "identity", reach=3), 16)
    window = picture(22, 22)
    assert torch.equal(runner.core(window, (3, 19), (0, 5), grey=False), window[:, :, 3:19, :5])
