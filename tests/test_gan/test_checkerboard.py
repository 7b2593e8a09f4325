import pytest
import torch

from gan.checkerboard import (
    UPSAMPLERS,
    phase_variance,
    power_spread,
    random_pictures,
    stride_peaks,
    uniform_overlap,
)

UNEVEN = {"transposed 3": 19 / 81, "transposed 5": (1 + 0.04) ** 2 - 1}
"""(1 + c)^2 - 1 where c is the squared variation of the taps on a line: {1, 2} and {2, 3}."""
PRINTS = ("transposed 2", "transposed 3", "transposed 4", "transposed 5", "transposed 6", "subpixel")
"""What has weights of its own for each phase."""
SMOOTH = ("nearest + 3", "bilinear + 3", "subpixel ICNR")


def test_every_upsampler_is_of_one_kind():
    assert {*PRINTS, *SMOOTH} == set(UPSAMPLERS)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_taps_overlap_as_the_closed_form_says(name: str):
    assert uniform_overlap(UPSAMPLERS[name]) == pytest.approx(UNEVEN.get(name, 0.0), abs=1e-6)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_power_of_noise_spreads_as_the_taps_do(name: str):
    # 64 x 64 random kernels: the power of each phase is a sum of some 10^4 squares, known within 2 %
    assert power_spread(UPSAMPLERS[name]) == pytest.approx(UNEVEN.get(name, 0.0), abs=0.015)


@pytest.mark.parametrize("name", PRINTS)
def test_phases_with_weights_of_their_own_answer_a_flat_input_differently(name: str):
    # 3/4 for four independent values; measured here over 256 channels
    assert phase_variance(UPSAMPLERS[name], channels=256) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("name", SMOOTH)
def test_phases_that_share_weights_answer_a_flat_input_equally(name: str):
    assert phase_variance(UPSAMPLERS[name]) < 1e-20


@pytest.mark.parametrize("name", PRINTS)
def test_untrained_generators_print_a_checkerboard(name: str):
    peaks = stride_peaks(random_pictures(UPSAMPLERS[name]))
    assert peaks.nyquist > 15
    assert peaks.strides > 8


@pytest.mark.parametrize("name", SMOOTH)
def test_untrained_generators_that_share_weights_print_none(name: str):
    peaks = stride_peaks(random_pictures(UPSAMPLERS[name]))
    assert peaks.nyquist < 3
    assert peaks.strides < 3


def _noise(side: int = 32) -> torch.Tensor:
    return torch.randn(64, 1, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [16, 32, 128])
def test_noise_has_no_peaks(side: int):
    peaks = stride_peaks(_noise(side))
    assert abs(peaks.nyquist) < 1.5  # a mean of 64 exponential variables, three times
    assert abs(peaks.strides) < 0.5


def test_a_board_of_known_height_is_measured():
    side, amplitude = 64, 0.5
    board = (-1.0) ** (torch.arange(side)[:, None] + torch.arange(side)[None])
    window = torch.hann_window(side)
    power = amplitude**2 * window.sum() ** 4 / window.square().sum() ** 2  # over that of white noise of variance 1
    with_board = stride_peaks(_noise(side) + amplitude * board)
    difference = 3 * (with_board.nyquist - stride_peaks(_noise(side)).nyquist)  # one of the three frequencies
    assert difference == pytest.approx(10 * torch.log10(power), abs=1.5)


def test_brightness_and_contrast_do_not_matter():
    peaks, other = stride_peaks(_noise()), stride_peaks(_noise() * 50 + 100)
    assert (other.nyquist, other.strides) == pytest.approx((peaks.nyquist, peaks.strides), abs=1e-4)


def test_stored_pictures_are_taken_and_their_order_does_not_matter():
    images = (_noise() * 40 + 128).clamp(0, 255).to(torch.uint8)
    peaks, other = stride_peaks(images), stride_peaks(images.flip(0))
    assert (other.nyquist, other.strides) == pytest.approx((peaks.nyquist, peaks.strides), abs=1e-9)


def test_flat_pictures_have_no_peaks():
    assert stride_peaks(torch.full((2, 3, 16, 16), 7, dtype=torch.uint8)).nyquist == 0.0


@pytest.mark.parametrize("shape", [(0, 3, 16, 16), (3, 16, 16), (1, 1, 8, 8), (1, 1, 16, 20)])
def test_pictures_without_a_spectrum_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"images must have"):
        stride_peaks(torch.zeros(shape))
