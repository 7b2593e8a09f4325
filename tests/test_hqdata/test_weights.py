"""Weights are what they claim to be, or they are refused with the file and the cause."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hqdata import restore, upscale
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.weights import describe, load_network, save_network, shipped
from hqdata.weights.publish import publish
from hqdata.weights.registry import FOLDER

BUILDERS = {SymmetricAutoencoder.architecture: SymmetricAutoencoder}
FACTS = {"licence": "CC0", "origin": "a test", "data": "none", "training": "none", "scores": {}}


def saved(path, *, channels=4, change=None):
    torch.manual_seed(0)
    tensors = SymmetricAutoencoder(channels, 1).state_dict()
    save_network(path, tensors, name="tiny", architecture="symmetric-autoencoder", channels=channels, pairs=1)
    if change:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata()
        stored = load_file(path)
        save_file({**stored, change: torch.full_like(stored[change], float("nan"))}, path, metadata=metadata)
    return path


SHIPPED = ["dejpeg-small", "sr4-small", "sr4-small-gan"]


def test_these_networks_are_shipped():
    assert shipped() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_have_licence_origin_and_their_own_checksum(name):
    facts = describe(name)
    assert facts["licence"]
    assert facts["origin"]
    assert facts["data"]
    assert facts["sha256"] == hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_have_a_card(name):
    card = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert describe(name)["sha256"] in card


def test_the_second_stage_can_be_blended_with_the_first():
    first, second = (upscale.load(name).module.state_dict() for name in SHIPPED[1:])
    assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in second.items()}
    assert not all(torch.equal(first[key], second[key]) for key in first)


def test_all_files_together_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 2_500_000


def test_saved_weights_come_back_as_float32_within_half_precision(tmp_path):
    network = load_network(saved(tmp_path / "tiny.safetensors"), builders=BUILDERS)
    torch.manual_seed(0)
    original = SymmetricAutoencoder(4, 1).state_dict()
    for key, value in network.module.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, original[key], atol=1e-3, rtol=1e-3)


def test_equal_weights_give_equal_bytes(tmp_path):
    first, second = saved(tmp_path / "a.safetensors"), saved(tmp_path / "b.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'dejpeg-tiny'; there are dejpeg-small, sr4-small"):
        restore.load("dejpeg-tiny")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors: weights cannot be read: No such file"):
        restore.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_cut_file_is_refused_by_name(tmp_path, kept):
    path = saved(tmp_path / "tiny.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"tiny\.safetensors: not a whole safetensors file"):
        restore.load(path)


def test_a_flipped_bit_is_refused_by_the_checksum(tmp_path):
    path = publish(saved(tmp_path / "run.safetensors"), FACTS, tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"tiny\.safetensors: sha256 is .* but tiny\.json says"):
        restore.load(path)


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", '{"sha256": 3}'])
def test_a_json_beside_the_file_that_names_no_checksum_changes_nothing(tmp_path, text):
    path = saved(tmp_path / "tiny.safetensors")
    path.with_suffix(".json").write_text(text)
    assert load_network(path, builders=BUILDERS).name == "tiny"


@pytest.mark.parametrize("name", ["TINY.SAFETENSORS", "tiny.bin", "tiny"])
def test_our_files_are_known_by_their_content_under_any_name(tmp_path, name):
    path = saved(tmp_path / "tiny.safetensors").rename(tmp_path / name)
    assert restore.load(str(path)).name == "tiny"


def test_nan_is_refused_with_the_tensor_named(tmp_path):
    path = saved(tmp_path / "tiny.safetensors", change="encoder.0.first.weight")
    with pytest.raises(ValueError, match=r"tiny\.safetensors: encoder\.0\.first\.weight holds NaN"):
        restore.load(path)


def test_weights_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="holds a 'symmetric-autoencoder', but upscale-generator is needed"):
        upscale.load("dejpeg-small")


def test_a_foreign_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"foreign\.safetensors: no known architecture .* has its tensors: a \(3,\)"):
        restore.load(tmp_path / "foreign.safetensors")


def test_tensors_that_do_not_fit_are_refused(tmp_path):
    tensors = SymmetricAutoencoder(4, 1).state_dict()
    save_network(
        tmp_path / "odd.safetensors", tensors, name="odd", architecture="symmetric-autoencoder", channels=8, pairs=1
    )
    with pytest.raises(ValueError, match=r"odd\.safetensors: does not fit the architecture"):
        restore.load(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("value", [70_000.0, float("inf"), float("nan")])
def test_values_that_float16_cannot_hold_are_not_written(tmp_path, value):
    tensors = SymmetricAutoencoder(4, 1).state_dict()
    name = next(iter(tensors))
    tensors[name] = torch.full_like(tensors[name], value)
    sizes = {"channels": 4, "pairs": 1}
    with pytest.raises(ValueError, match=rf"large\.safetensors: {name} has values that float16 cannot hold"):
        save_network(
            tmp_path / "large.safetensors", tensors, name="large", architecture="symmetric-autoencoder", **sizes
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("load", [restore.load, upscale.load])
@pytest.mark.parametrize(
    ("device", "sentence"), [("gpu", "'gpu' is none that torch knows"), ("cuda:99", r"cuda:99: torch sees \d+ CUDA")]
)
def test_a_device_that_is_not_there_is_refused_with_what_to_do(load, device, sentence):
    with pytest.raises(ValueError, match=f"{sentence}.*use cpu"):
        load(device=device)


@pytest.mark.parametrize("fact", ["licence", "data", "scores"])
def test_weights_without_a_needed_fact_are_not_published(tmp_path, fact):
    path = saved(tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match=f"facts lack {fact}"):
        publish(path, {key: value for key, value in FACTS.items() if key != fact}, tmp_path)


def test_publishing_writes_what_the_file_says_of_itself(tmp_path):
    path = publish(saved(tmp_path / "run.safetensors"), FACTS, tmp_path / "weights")
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["name"] == "tiny"
    assert written["parameters"] == sum(value.numel() for value in SymmetricAutoencoder(4, 1).parameters())
    assert (written["reach"], written["scale"]) == (SymmetricAutoencoder(4, 1).reach, 1)
    assert restore.load(path).sha256 == written["sha256"]
