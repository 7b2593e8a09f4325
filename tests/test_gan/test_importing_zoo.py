import itertools
import math
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.importing import ForeignFileError, import_file
from gan.layers import enlarge
from gan.zoo import Shape

MAPS = (12, 12, 8)  # 4, 8 and 16 px: min(64 >> (level - 1), 12)


class _Bag:
    """Settings, as the package's BaseConfig holds them."""


def _tensors(seed: int, *, latent: int = 16, channels: int = 3, maps: tuple[int, ...] = MAPS) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    found = {}

    def layer(name: str, *shape: int) -> None:
        found[f"{name}.module.weight"] = torch.randn(*shape, generator=random)
        found[f"{name}.module.bias"] = torch.randn(shape[0], generator=random)

    layer("formatLayer", 16 * maps[0], latent)
    layer("groupScale0.0", maps[0], maps[0], 3, 3)
    for scale, (before, here) in enumerate(itertools.pairwise(maps)):
        layer(f"scaleLayers.{scale}.0", here, before, 3, 3)
        layer(f"scaleLayers.{scale}.1", here, here, 3, 3)
    for scale, here in enumerate(maps):
        layer(f"toRGBLayers.{scale}", channels, here, 1, 1)
    return found


def _oracle(found: dict[str, Tensor], latents: Tensor, *, old_share: float = 0.0, scaled: bool = True) -> np.ndarray:
    """Return what that package draws, in float64: weights and biases times sqrt(2 / fan in)."""

    def scale(weight: Tensor) -> float:
        return math.sqrt(2.0 / (weight.numel() // weight.shape[0])) if scaled else 1.0

    def conv(maps: Tensor, name: str) -> Tensor:
        weight, bias = found[f"{name}.module.weight"].double(), found[f"{name}.module.bias"].double()
        return torch.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2) * scale(weight)

    def normal(values: Tensor) -> Tensor:
        return values / (values.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def active(values: Tensor) -> Tensor:
        return torch.where(values > 0, values, 0.2 * values)

    weight, bias = found["formatLayer.module.weight"].double(), found["formatLayer.module.bias"].double()
    rows = (normal(latents.double()) @ weight.T + bias) * scale(weight)
    maps = normal(active(rows).reshape(len(rows), -1, 4, 4))
    maps, previous = normal(active(conv(maps, "groupScale0.0"))), maps
    scales = sum(name.startswith("toRGBLayers") for name in found) // 2 - 1
    for number in range(scales):
        previous = maps
        maps = normal(active(conv(enlarge(maps), f"scaleLayers.{number}.0")))
        maps = normal(active(conv(maps, f"scaleLayers.{number}.1")))
    pictures = conv(maps, f"toRGBLayers.{scales}")
    if old_share:
        pictures = old_share * enlarge(conv(previous, f"toRGBLayers.{scales - 1}")) + (1 - old_share) * pictures
    return pictures.numpy()


def _file(folder: Path, networks: dict[str, Any], *, old_format: bool = False, **settings: Any) -> Path:
    """Write a checkpoint as that package does, its config an instance of a class that is only there meanwhile."""
    bag = _Bag()
    bag.__dict__ |= {"perChannelNormalization": True, "leakyReluLeak": 0.2, "lossCriterion": "WGANGP", **settings}
    modules = {name: types.ModuleType(name) for name in ("models", "models.utils", "models.utils.config")}
    _Bag.__module__, _Bag.__qualname__ = "models.utils.config", "BaseConfig"
    modules["models.utils.config"].BaseConfig = _Bag
    sys.modules.update(modules)
    path = folder / "celebaHQ_s2_i96000.pth"
    try:
        torch.save({"config": bag, **networks}, path, _use_new_zipfile_serialization=not old_format)
    finally:
        for name in modules:
            del sys.modules[name]
    return path


def _assert_close(pictures: Tensor, wanted: np.ndarray) -> None:
    """Compare within 1e-5 of the range: float32 networks here, float64 there."""
    np.testing.assert_allclose(pictures, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def _latents(width: int = 16) -> Tensor:
    return torch.randn(3, width, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before torch 1.6"])
def test_pictures_are_those_of_the_other_package(tmp_path: Path, old_format: bool):
    found = _tensors(0)
    imported = import_file(_file(tmp_path, {"netG": found, "netD": {}}, old_format=old_format, alpha=0))
    _assert_close(imported.generator(_latents()), _oracle(found, _latents()))
    assert (imported.level, imported.fade, imported.origin) == (4, 1.0, "pytorch_GAN_zoo")


def test_the_running_average_is_preferred(tmp_path: Path):
    trained, averaged = _tensors(0), _tensors(1)
    imported = import_file(_file(tmp_path, {"netG": trained, "avgG": averaged}))
    _assert_close(imported.generator(_latents()), _oracle(averaged, _latents()))


@pytest.mark.parametrize("old_share", [0.25, 1.0])
def test_a_fade_is_gone_on_where_the_training_stood(tmp_path: Path, old_share: float):
    found = _tensors(0)
    imported = import_file(_file(tmp_path, {"netG": found}, alpha=old_share))
    assert imported.fade == 1 - old_share
    pictures = imported.generator(_latents(), fade=imported.fade)
    _assert_close(pictures, _oracle(found, _latents(), old_share=old_share))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_early_names_are_understood(tmp_path: Path, prefix: str):
    found = _tensors(0)
    early = {prefix + name.replace(".module.", "."): value for name, value in found.items()}
    imported = import_file(_file(tmp_path, {"netG": early}))
    _assert_close(imported.generator(_latents()), _oracle(found, _latents()))


def test_layers_without_equalised_rates_are_understood(tmp_path: Path):
    found = {name: value / 8 for name, value in _tensors(0).items()}
    imported = import_file(_file(tmp_path, {"netG": found}, equalizedlR=False))
    _assert_close(imported.generator(_latents()), _oracle(found, _latents(), scaled=False))


def test_a_grey_network_of_four_pixels_is_read(tmp_path: Path):
    found = _tensors(0, channels=1, maps=(12,))
    imported = import_file(_file(tmp_path, {"netG": found}))
    assert imported.generator.shape == Shape(
        resolution=4, channels=1, latent=16, most_maps=12, map_budget=24, first_bias="pixel", scaling="separate"
    )
    _assert_close(imported.generator(_latents()), _oracle(found, _latents()))


def test_categories_become_labels(tmp_path: Path):
    found = _tensors(0)
    imported = import_file(_file(tmp_path, {"netG": found}, categoryVectorDim=4))
    assert (imported.generator.shape.latent, imported.generator.shape.labels) == (12, 4)
    rows, labels = _latents(12), torch.eye(4)[:3]
    wanted = _oracle(found, torch.cat([rows, labels], dim=1))
    _assert_close(imported.generator(rows, labels), wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"perChannelNormalization": False}, "perChannelNormalization=False"),
        ({"leakyReluLeak": 0.1}, "leakyReluLeak=0.1; networks here need 0.2"),
        ({"lossCriterion": "DCGAN"}, "'DCGAN', whose generators end in a tanh"),
        ({"alpha": "much"}, "is damaged"),
    ],
)
def test_settings_that_networks_here_cannot_have_are_refused(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(ForeignFileError, match=rf"celebaHQ_s2_i96000\.pth: .*{message}"):
        import_file(_file(tmp_path, {"netG": _tensors(0)}, **settings))


def test_maps_that_no_shape_has_are_refused(tmp_path: Path):
    with pytest.raises(ForeignFileError, match=re.escape("feature maps by level are {2: 12, 3: 8, 4: 8}")):
        import_file(_file(tmp_path, {"netG": _tensors(0, maps=(12, 8, 8))}))


def test_a_missing_tensor_is_named(tmp_path: Path):
    found = _tensors(0)
    del found["scaleLayers.1.1.module.weight"]
    with pytest.raises(ForeignFileError, match=r"lacks the tensor scaleLayers\.1\.1\.weight"):
        import_file(_file(tmp_path, {"netG": found}))


class _Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.folder / 'trace'}",)


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before torch 1.6"])
def test_a_call_is_refused_by_name(tmp_path: Path, old_format: bool):
    path = _file(tmp_path, {"netG": _tensors(0), "tmp": _Runs(tmp_path)}, old_format=old_format)
    with pytest.raises(ForeignFileError, match=r"asks for .*system"):
        import_file(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before torch 1.6"])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float, old_format: bool):
    path = _file(tmp_path, {"netG": _tensors(0)}, old_format=old_format)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ForeignFileError, match="is no checkpoint of pytorch_GAN_zoo"):
        import_file(path)


def test_another_checkpoint_is_named(tmp_path: Path):
    path = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ForeignFileError, match="it has no netG and config"):
        import_file(path)
