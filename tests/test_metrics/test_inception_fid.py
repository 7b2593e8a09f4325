"""FID's network has the published graph's shapes, and other libraries' features under the same weights."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from random_inception import write_random_inception

from metrics.features import MissingWeights, WeightsError, extractor, inception_fid, inception_layers
from metrics.features.inception_fid import PROTOCOLS, InceptionProtocol
from metrics.features.inception_layers import InceptionTrunk

ANY_MAPS = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_inception(tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (1, 3, 60, 83), dtype=torch.uint8, generator=generator)
    ramp = torch.linspace(0, 255, 83).to(torch.uint8).expand(1, 3, 60, 83)
    return torch.cat([ramp, noise])


@pytest.fixture(scope="module")
def tf1(weights: Path):
    return extractor("inception-fid", weights=weights, sha256="any", device="cpu")


def at_layer(weights: Path, protocol: str, layer: str):
    chosen = dataclasses.replace(PROTOCOLS[protocol], layer=layer)
    return extractor("inception-fid", weights=weights, sha256="any", device="cpu", protocol=chosen)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_the_network_has_as_many_numbers_as_published():
    with torch.device("meta"):
        trunk = InceptionTrunk("2048")
    assert sum(value.numel() for value in trunk.parameters()) == 23_850_960
    assert sum(value.numel() for value in trunk.buffers()) == 34_526
    assert len(trunk.state_dict()) == 566


SHAPES = {
    "Conv2d_1a_3x3": (32, 149, 149),
    "Conv2d_2a_3x3": (32, 147, 147),
    "Conv2d_2b_3x3": (64, 147, 147),
    "Conv2d_3b_1x1": (80, 73, 73),
    "Conv2d_4a_3x3": (192, 71, 71),
    "Mixed_5b": (256, 35, 35),
    "Mixed_5c": (288, 35, 35),
    "Mixed_5d": (288, 35, 35),
    "Mixed_6a": (768, 17, 17),
    "Mixed_6b": (768, 17, 17),
    "Mixed_6c": (768, 17, 17),
    "Mixed_6d": (768, 17, 17),
    "Mixed_6e": (768, 17, 17),
    "Mixed_7a": (1280, 8, 8),
    "Mixed_7b": (2048, 8, 8),
    "Mixed_7c": (2048, 8, 8),
}


def test_every_layer_has_its_shape_at_299_pixels():
    trunk, seen = InceptionTrunk("2048").eval(), {}
    for name in SHAPES:
        trunk.get_submodule(name).register_forward_hook(
            lambda _module, _given, made, name=name: seen.update({name: tuple(made.shape[1:])})
        )
    with torch.no_grad():
        features, logits = trunk(torch.zeros(1, 3, 299, 299))
    assert seen == SHAPES
    assert features.shape == (1, 2048)
    assert logits.shape == (1, 1008)


@pytest.mark.parametrize(("layer", "width"), [("64", 64), ("192", 192), ("768", 768), ("spatial", 2023)])
def test_earlier_layers_give_their_rows_and_no_scores(layer: str, width: int):
    with torch.no_grad():
        features, logits = InceptionTrunk(layer).eval()(torch.zeros(1, 3, 299, 299))
    assert features.shape == (1, width)
    assert logits is None


def test_averages_leave_the_borders_zeros_out_and_the_last_block_takes_the_maximum():
    trunk = InceptionTrunk("2048")
    padded = torch.nn.functional.pad(ANY_MAPS, (1, 1, 1, 1), value=torch.nan)
    windows = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    assert trunk.Mixed_7b.pool is inception_layers._average
    torch.testing.assert_close(trunk.Mixed_7b.pool(ANY_MAPS), windows.nanmean(dim=4))
    torch.testing.assert_close(trunk.Mixed_7c.pool(ANY_MAPS), windows.nan_to_num(-torch.inf).amax(dim=4))


def test_folding_batch_norms_keeps_the_features(weights: Path, images: torch.Tensor, tf1):
    trunk = InceptionTrunk("2048").eval()
    trunk.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        features, logits = trunk(PROTOCOLS["tf1"].preparation(images))
    made = tf1.embed(images)
    assert relative(made.features, features) < 1e-5  # float32 rounds other products
    assert relative(made.logits, logits) < 1e-5


def test_logits_are_the_features_times_the_classifier_without_its_bias(weights: Path, images: torch.Tensor, tf1):
    made = tf1.embed(images)
    matrix = torch.load(weights, weights_only=True)["fc.weight"]
    torch.testing.assert_close(made.logits.double(), made.features.double() @ matrix.double().T, rtol=1e-4, atol=1e-4)


def test_a_row_is_its_pictures_alone(images: torch.Tensor, tf1):
    together, alone = tf1.embed(images), tf1.embed(images[1:2].numpy())
    assert relative(alone.features, together.features[1:2]) < 1e-5  # other blocks of the same float32 sums
    assert together.features.dtype == torch.float32
    assert together.features.device.type == "cpu"


def test_protocols_are_what_they_stand_for():
    table = {name: (p.resize, p.middle, p.layer, p.ddof) for name, p in PROTOCOLS.items()}
    assert table == {
        "tf1": ("tf1", 128.0, "2048", 1),
        "torch": ("torch", 127.5, "2048", 1),
        "clean": ("clean", 128.0, "2048", 1),
        "stylegan3": ("tf1", 128.0, "2048", 0),
        "adm": ("tf1", 128.0, "2048", 1),
        "adm-spatial": ("tf1", 128.0, "spatial", 1),
        "torchmetrics": ("antialias", 128.0, "2048", 1),
    }


@pytest.mark.parametrize("protocol", ["torch", "clean", "torchmetrics"])
def test_protocols_show_the_network_other_pictures(protocol: str, images: torch.Tensor):
    difference = PROTOCOLS[protocol].preparation(images) - PROTOCOLS["tf1"].preparation(images)
    assert float(difference.abs().mean()) > 0.03  # some four levels of 255


def test_the_protocol_names_all_that_decides_a_row(weights: Path):
    made = extractor(
        "inception-fid", weights=weights, sha256="any", device="cpu", precision="bfloat16", protocol="clean"
    )
    assert made.protocol == (
        "inception-fid/clean: squeeze to 299x299 by clean, (level - 128) / 128, layer 2048, ddof 1, bfloat16"
    )


def test_bfloat16_stays_within_a_hundredth(weights: Path, images: torch.Tensor, tf1):
    made = extractor("inception-fid", weights=weights, sha256="any", device="cpu", precision="bfloat16").embed(images)
    assert made.features.dtype == torch.float32
    assert relative(made.features, tf1.embed(images).features) < 2e-2  # eight binary places


def test_other_weights_results_are_not_called_fid(tf1):
    assert tf1.distance_name == f"FD-inception-fid-2048-{tf1.sha256[:8]}"


@pytest.mark.parametrize(("protocol", "name"), [("tf1", "FID"), ("stylegan3", "FID"), ("adm-spatial", "sFID")])
def test_published_weights_results_are_called_fid(
    protocol: str, name: str, weights: Path, tf1, monkeypatch: pytest.MonkeyPatch
):
    published = dataclasses.replace(inception_fid.SOURCE, sha256=(tf1.sha256,))
    monkeypatch.setattr(inception_fid, "SOURCE", published)
    made = extractor("inception-fid", weights=weights, device="cpu", protocol=protocol)
    assert made.distance_name == name
    assert made.ddof == PROTOCOLS[protocol].ddof


def test_random_weights_are_refused_unless_asked_for(weights: Path):
    with pytest.raises(WeightsError, match=r"6726825d\.pth: sha256 is .*, inception-fid needs 6726825d0af5"):
        extractor("inception-fid", weights=weights, device="cpu")


def test_whoever_lacks_the_weights_is_told_which_file_to_get(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HQ_WEIGHTS", raising=False)
    with pytest.raises(MissingWeights, match=r"get pt_inception-2015-12-05-6726825d\.pth .* from .*pytorch-fid"):
        extractor("inception-fid", device="cpu")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: extractor("inception-fid", device="cpu", protocol="tf2"), "must be one of tf1, torch, clean"),
        (
            lambda: InceptionProtocol(name="mine", resize="tf1", middle=128, layer="1024"),
            "layer must be one of 64, 192",
        ),
        (lambda: InceptionProtocol(name="mine", resize="tf1", middle=128, ddof=2), "ddof must be 0 or 1"),
    ],
)
def test_unknown_protocols_are_refused(make, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["64", "192", "768", "2048"])
def test_tf1_is_torch_fidelity(layer: str, weights: Path, images: torch.Tensor):
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=ImportError)
    network = theirs.FeatureExtractorInceptionV3("inception-v3-compat", [layer, "logits_unbiased"], str(weights))
    features, logits = network(images)
    made = at_layer(weights, "tf1", layer).embed(images)
    assert relative(made.features, features) < 1e-5
    assert made.logits is None or relative(made.logits, logits) < 1e-5


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["64", "192", "768", "2048"])
def test_torch_is_pytorch_fid(layer: str, weights: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch):
    theirs = pytest.importorskip("pytorch_fid.inception", exc_type=ImportError)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: torch.load(weights, weights_only=True))
    network = theirs.InceptionV3([theirs.InceptionV3.BLOCK_INDEX_BY_DIM[int(layer)]]).eval()
    features = network(images.float() / 255)[0].mean(dim=(2, 3))
    assert relative(at_layer(weights, "torch", layer).embed(images).features, features) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cuda_gives_the_cpus_features(protocol: str, weights: Path, images: torch.Tensor):
    cpu, cuda = (
        extractor("inception-fid", weights=weights, sha256="any", device=device, protocol=protocol).embed(images)
        for device in ("cpu", "cuda")
    )
    assert cuda.features.is_cuda
    assert relative(cuda.features.cpu(), cpu.features) < 1e-4


def test_numpy_and_torch_pictures_are_the_same(images: torch.Tensor, tf1):
    small = images[:1]
    np.testing.assert_array_equal(tf1.embed(small).features, tf1.embed(small.numpy()).features)
