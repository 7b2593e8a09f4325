"""Weights between two trainings: the ends are the two, and the way between them is straight."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from hqdata import upscale
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.upscale.model import UpscaleGenerator
from hqdata.weights import save_network
from hqdata.weights.blend import blend


def write(path, seed, module_class=UpscaleGenerator, channels=4, pairs=1):
    torch.manual_seed(seed)
    module = module_class(channels, pairs)
    values = {key: torch.randn_like(value) for key, value in module.state_dict().items()}
    save_network(path, values, name=path.stem, architecture=module.architecture, channels=channels, pairs=pairs)
    return path


@pytest.fixture
def pair(tmp_path):
    return write(tmp_path / "l1.safetensors", 1), write(tmp_path / "gan.safetensors", 2)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_tensor_lies_between_its_two(pair, tmp_path, share):
    blend(*pair, share, tmp_path / "out.safetensors")
    first, second, mixed = (load_file(path) for path in (*pair, tmp_path / "out.safetensors"))
    for key, value in mixed.items():
        expected = (1 - share) * first[key].double() + share * second[key].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-4)  # float16's rounding


@pytest.mark.parametrize(("share", "end"), [(0.0, 0), (1.0, 1)])
def test_the_ends_are_the_given_weights_exactly(pair, tmp_path, share, end):
    blend(*pair, share, tmp_path / "out.safetensors")
    given, mixed = load_file(pair[end]), load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(mixed[key], value) for key, value in given.items())


def test_the_result_can_be_loaded_under_its_name(pair, tmp_path):
    sha256 = blend(*pair, 0.5, tmp_path / "out.safetensors", name="half")
    network = upscale.load(tmp_path / "out.safetensors")
    assert (network.name, network.sha256) == ("half", sha256)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(pair, tmp_path, share):
    with pytest.raises(ValueError, match="share must be within"):
        blend(*pair, share, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"channels": 5}, "channels is 4 and 5"),
        ({"module_class": SymmetricAutoencoder}, "architecture is upscale-generator and symmetric-autoencoder"),
    ],
)
def test_weights_of_different_networks_are_refused(pair, tmp_path, other, sentence):
    with pytest.raises(ValueError, match=sentence):
        blend(pair[0], write(tmp_path / "other.safetensors", 3, **other), 0.5, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_missing_file_is_refused_by_name(pair, tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors: weights cannot be read"):
        blend(pair[0], tmp_path / "none.safetensors", 0.5, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ({"__metadata__": None}, "has no 'hqdata' metadata"),
        ({"__metadata__": {"hqdata": '{"name": "x", "channels": 4, "pairs": 1}'}}, "its architecture is None"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_by_name(pair, tmp_path, header, cause):
    text = json.dumps(header).encode()
    (tmp_path / "other.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match=rf"other\.safetensors: {cause}"):
        blend(pair[0], tmp_path / "other.safetensors", 0.5, tmp_path / "out.safetensors")
