"""The number format follows what is asked for and what the device can do, never what happens to be fast."""

import pytest
import torch
from torch import nn

from hqdata import precision, restore, upscale
from hqdata.precision import computing_in, has_bfloat16, resolve_precision


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Make the processor say that it has these features."""

    def pretend(flags):
        facts = tmp_path / "cpuinfo"
        facts.write_text(f"flags : fpu avx2 {flags}\n")
        monkeypatch.setattr(precision, "CPU_FACTS", facts)

    return pretend


@pytest.mark.parametrize(
    ("flags", "wanted", "expected"),
    [
        ("avx512_bf16", "auto", "bfloat16"),
        ("amx_bf16", "bfloat16", "bfloat16"),
        ("", "auto", "float32"),
        ("avx512_bf16", "float32", "float32"),
    ],
)
def test_bfloat16_is_used_where_it_is_wanted_and_there(processor, flags, wanted, expected):
    processor(flags)
    assert resolve_precision(wanted, "cpu") == expected


def test_bfloat16_by_name_is_refused_without_instructions_for_it(processor):
    processor("avx512f")
    with pytest.raises(ValueError, match="bfloat16, but cpu has no instructions for it; use float32 or auto"):
        resolve_precision("bfloat16", "cpu")


def test_a_processor_that_says_nothing_has_no_bfloat16(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPU_FACTS", tmp_path / "none")
    assert not has_bfloat16("cpu")


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="precision must be float32, bfloat16 or auto, got 'half'"):
        resolve_precision("half", "cpu")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("wanted", "expected"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_convolutions_compute_in_what_is_asked_for_whatever_the_caller_does(wanted, expected):
    convolution = nn.Conv2d(3, 3, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16), computing_in(wanted, "cpu"):
        assert convolution(torch.zeros(1, 3, 4, 4)).dtype == expected


@pytest.mark.parametrize("load", [restore.load, upscale.load])
def test_a_loaded_network_knows_its_precision(processor, load):
    processor("avx512_bf16")
    assert load().precision == "float32"
    assert load(precision="auto").precision == "bfloat16"


@pytest.mark.parametrize("load", [restore.load, upscale.load])
def test_only_the_correction_is_computed_in_bfloat16(load):
    network = load()
    picture = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        exact = network.module(picture)
        with computing_in("bfloat16", "cpu"):
            output = network.module(picture)
    assert output.dtype == torch.float32
    assert (output - output.bfloat16()).abs().max() > 1e-4
    torch.testing.assert_close(output, exact, atol=0.02, rtol=0)
