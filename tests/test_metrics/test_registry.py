"""Extractors are opened by name or from a module, and what cannot be opened is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from metrics.features import Preparation, WeightsError, extractor, extractor_names, register_extractor, registry

SMALL = Preparation(side=8, resize="antialias", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class Corners(nn.Module):
    """Features are the picture's four corners through a linear layer, logits two of them."""

    def __init__(self, width: int = 6):
        super().__init__()
        self.mix = nn.Linear(12, width)

    def forward(self, pictures):
        features = self.mix(pictures[:, :, ::7, ::7].flatten(1))
        return features, features[:, :2]


class Maps(nn.Module):
    def forward(self, pictures):
        return pictures


class Words(nn.Module):
    def forward(self, pictures):
        return "features"


@pytest.fixture
def module() -> Corners:
    torch.manual_seed(0)
    return Corners()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 3, 11, 9), dtype=np.uint8)


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})


def opened(module: nn.Module, **options):
    return extractor(module, device="cpu", preparation=SMALL, **options)


def test_our_own_networks_are_known_by_name():
    assert extractor_names()[:7] == (
        "inception-fid",
        "efficientnet-lite0",
        "squeezenet1.1",
        "clip-vit-l14-336",
        "dinov2-vitl14",
        "dinov2-vitb14",
        "dinov2-vits14",
    )


def test_any_module_becomes_an_extractor(module: Corners, images: np.ndarray):
    made = opened(module)
    embedding = made.embed(images)
    with torch.no_grad():
        features, logits = module(SMALL(torch.from_numpy(images)))
    torch.testing.assert_close(embedding.features, features)
    torch.testing.assert_close(embedding.logits, logits)
    assert (made.name, made.width, made.device, made.ddof) == ("Corners", 6, "cpu", 1)
    assert made.distance_name == "FD-Corners"
    assert made.protocol == "Corners: squeeze to 8x8 by antialias, (level - 127.5) / 127.5, ddof 1, float32"


def test_the_module_itself_is_not_changed(module: Corners, images: np.ndarray):
    opened(module, precision="bfloat16").embed(images)
    assert module.training
    assert module.mix.weight.dtype == torch.float32
    assert module.mix.weight.requires_grad


@pytest.mark.usefixtures("empty_registry")
def test_nor_is_a_registered_one(module: Corners):
    register_extractor("corners", lambda: module, preparation=SMALL)
    extractor("corners", device="cpu", precision="bfloat16")
    assert module.training
    assert module.mix.weight.dtype == torch.float32


@given(cut=st.integers(1, 36), order=st.permutations(range(37)))
def test_rows_depend_on_their_picture_alone(cut: int, order: list[int]):
    torch.manual_seed(0)
    made = opened(Corners())
    images = np.random.default_rng(0).integers(0, 256, (37, 3, 11, 9), dtype=np.uint8)[order]
    whole = made.embed(images).features
    parts = torch.cat([made.embed(images[:cut]).features, made.embed(images[cut:]).features])
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)  # float32 sums in another order


def test_the_hash_tells_networks_apart(module: Corners):
    same, other = opened(module), Corners()
    assert opened(module).sha256 == same.sha256
    assert opened(other).sha256 != same.sha256
    assert opened(Corners(width=7)).sha256 != same.sha256


def test_a_modules_weights_can_come_from_a_file(module: Corners, images: np.ndarray, tmp_path: Path):
    torch.save(module.state_dict(), tmp_path / "corners.pth")
    made = opened(Corners(), weights=tmp_path / "corners.pth")
    torch.testing.assert_close(made.embed(images).features, opened(module).embed(images).features)


@pytest.mark.usefixtures("empty_registry")
def test_a_registered_name_opens_its_network(module: Corners, images: np.ndarray):
    register_extractor("corners", lambda: module, preparation=SMALL)
    made = extractor("corners", device="cpu")
    assert made.distance_name == "FD-corners"
    torch.testing.assert_close(made.embed(images).features, opened(module).embed(images).features)
    assert extractor_names()[-1] == "corners"


@pytest.mark.usefixtures("empty_registry")
@pytest.mark.parametrize("name", ["inception-fid", "corners"])
def test_taken_names_are_refused(name: str):
    register_extractor("corners", Corners, preparation=SMALL)
    with pytest.raises(ValueError, match=f"the name '{name}' is taken"):
        register_extractor(name, Corners, preparation=SMALL)


def test_bfloat16_is_recorded(module: Corners, images: np.ndarray):
    made = opened(module, precision="bfloat16")
    assert made.protocol.endswith("bfloat16")
    features = made.embed(images).features
    assert features.dtype == torch.float32
    torch.testing.assert_close(
        features, opened(module).embed(images).features, rtol=0, atol=0.03
    )  # eight binary places


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports torch.jit
def test_a_compiled_network_gives_the_same_rows(module: Corners, images: np.ndarray):
    made = opened(module, compile=True)
    assert made.protocol.endswith("float32, compiled")
    embedding, plain = made.embed(images), opened(module).embed(images)
    assert embedding.logits.shape == (37, 2)
    torch.testing.assert_close(embedding.features, plain.features, rtol=1e-5, atol=1e-5)


def test_autocast_around_the_call_changes_no_row(module: Corners, images: np.ndarray):
    network = opened(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = network.embed(images).features
    assert torch.equal(inside, network.embed(images).features)


@pytest.mark.parametrize("before", ["highest", "medium"])
def test_the_callers_precision_of_products_is_left_as_it_was(before: str, module: Corners, images: np.ndarray):
    torch.set_float32_matmul_precision(before)
    opened(module).embed(images)
    after = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    assert after == before


@pytest.mark.parametrize(
    ("network", "options", "error", "sentence"),
    [
        ("inception-fidd", {}, ValueError, "there is no extractor 'inception-fidd'; did you mean 'inception-fid'"),
        (3, {}, TypeError, "network must be a name or a torch.nn.Module, got int"),
        (Corners(), {}, ValueError, r"needs preparation=Preparation\(side="),
        ("efficientnet-lite0", {"preparation": SMALL}, ValueError, "brings its own preparation"),
        ("efficientnet-lite0", {"protocol": "clean"}, ValueError, "protocol belongs to inception-fid"),
        ("efficientnet-lite0", {"precision": "float16"}, ValueError, "must be 'float32' or 'bfloat16', got 'float16'"),
        ("efficientnet-lite0", {"device": "gpu0"}, ValueError, "device must be 'auto' or a device of torch"),
        (Maps(), {"preparation": SMALL}, ValueError, r"must give \(n, d\) features, .* got \(1, 3, 8, 8\)"),
        (Words(), {"preparation": SMALL}, ValueError, r"must give \(n, d\) features, .* got str"),
    ],
)
def test_what_cannot_be_opened_is_refused(network, options: dict, error: type[Exception], sentence: str):
    with pytest.raises(error, match=sentence):
        extractor(network, **{"device": "cpu"} | options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_not_promised(module: Corners):
    with pytest.raises(ValueError, match="torch sees no CUDA device; use 'auto' or 'cpu'"):
        extractor(module, device="cuda", preparation=SMALL)


def test_auto_finds_a_device(module: Corners, images: np.ndarray):
    made = extractor(module, preparation=SMALL)
    assert made.device in ("cpu", "cuda")
    assert made.embed(images).features.device.type == made.device


@pytest.mark.parametrize(
    ("images", "error", "sentence"),
    [
        (np.zeros((1, 3, 8, 8), dtype=np.float32), TypeError, "images must be uint8 RGB"),
        (np.zeros((1, 2, 8, 8), dtype=np.uint8), ValueError, r"got \(1, 2, 8, 8\)"),
        (np.zeros((0, 3, 8, 8), dtype=np.uint8), ValueError, "at least 1"),
        ("photos", TypeError, "must be a numpy array or a torch tensor, got str"),
    ],
)
def test_wrong_pictures_are_refused(module: Corners, images, error: type[Exception], sentence: str):
    with pytest.raises(error, match=sentence):
        opened(module).embed(images)


def test_networks_without_stages_say_so(module: Corners, images: np.ndarray):
    with pytest.raises(TypeError, match="Corners has no stages"):
        opened(module).stages(images)


def test_weights_that_do_not_fit_are_named(tmp_path: Path):
    torch.save(Corners(width=7).state_dict(), tmp_path / "corners.pth")
    with pytest.raises(
        WeightsError, match=r"corners\.pth: 'mix\.weight' has shape \(7, 12\), the network needs \(6, 12\)"
    ):
        opened(Corners(), weights=tmp_path / "corners.pth")


@pytest.mark.gpu
def test_cuda_gives_the_cpus_rows(module: Corners, images: np.ndarray):
    cuda = extractor(module, device="cuda", preparation=SMALL).embed(images)
    torch.testing.assert_close(cuda.features.cpu(), opened(module).embed(images).features, rtol=1e-5, atol=1e-5)
