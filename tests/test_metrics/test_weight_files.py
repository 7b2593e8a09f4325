"""Weights files are found, checked and read without running anything in them; every fault names the file."""

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from metrics.features.interface import MissingWeights, WeightsError
from metrics.features.weight_files import ANY, WeightSource, filled, read_weights, with_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def random_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = network().state_dict()
    return {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in tensors.items()
    }


def saved(tensors: object) -> bytes:
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


def source(*data: bytes) -> WeightSource:
    known = tuple(hashlib.sha256(content).hexdigest() for content in data)
    return WeightSource(network="small", files=("small.pth", "other.pth"), sha256=known, origin="its authors")


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


GOOD = saved(random_tensors())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.pth").write_bytes(GOOD)
    return tmp_path / "small.pth"


def same(module: nn.Module) -> bool:
    return all(torch.equal(value, random_tensors()[key]) for key, value in module.state_dict().items())


def test_a_known_file_fills_the_network(path: Path):
    weights = read_weights(source(GOOD), path)
    assert weights.published
    assert weights.path == path
    assert weights.sha256 == hashlib.sha256(GOOD).hexdigest()
    module = with_weights(network, weights)
    assert same(module)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("given_path", ["path", "folder", "variable"])
def test_a_file_is_found(path: Path, given_path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HQ_WEIGHTS", str(path.parent))
    chosen = {"path": str(path), "folder": path.parent, "variable": None}[given_path]
    assert read_weights(source(GOOD), chosen).path == path


def test_the_second_known_name_is_found_too(path: Path):
    renamed = path.rename(path.parent / "other.pth")
    assert read_weights(source(GOOD), path.parent).path == renamed


@pytest.mark.parametrize("given_path", ["none.pth", "", None])
def test_whoever_lacks_the_file_is_told_what_to_put_where(
    tmp_path: Path, given_path: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HQ_WEIGHTS", raising=False)
    chosen = None if given_path is None else tmp_path / given_path
    advice = r"get small.pth or other.pth from its authors, and pass weights=PATH or put it .* \$HQ_WEIGHTS names"
    with pytest.raises(MissingWeights, match=advice):
        read_weights(source(), chosen)


def test_another_file_is_refused_and_the_way_out_is_named(path: Path):
    with pytest.raises(WeightsError, match=r"small\.pth: sha256 is .*, small needs .* sha256='any'"):
        read_weights(source(b"something else"), path)


def test_another_file_is_taken_when_asked_for_and_is_not_called_published(path: Path):
    assert not read_weights(source(b"something else"), path, sha256=ANY).published


def test_a_certain_file_is_taken_by_its_hash(path: Path):
    digest = hashlib.sha256(GOOD).hexdigest()
    assert read_weights(source(b"something else"), path, sha256=digest.upper()).sha256 == digest
    with pytest.raises(WeightsError, match="small needs 000000000000"):
        read_weights(source(GOOD), path, sha256="0" * 64)


def test_a_hash_that_is_none_is_refused(path: Path):
    with pytest.raises(ValueError, match=r"64 hexadecimal digits, got 'abc'"):
        read_weights(source(GOOD), path, sha256="abc")


def test_networks_without_a_published_file_take_any(path: Path):
    assert not read_weights(source(), path).published


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_training_programs_wrapping_is_opened(tmp_path: Path, key: str):
    (tmp_path / "small.pth").write_bytes(saved({key: random_tensors(), "epoch": 3}))
    assert same(with_weights(network, read_weights(source(), tmp_path)))


def test_safetensors_are_known_by_their_content(tmp_path: Path):
    (tmp_path / "small.pth").write_bytes(safetensors.torch.save(random_tensors()))
    assert same(with_weights(network, read_weights(source(), tmp_path)))


def test_the_old_format_is_read(tmp_path: Path):
    torch.save(random_tensors(), tmp_path / "small.pth", _use_new_zipfile_serialization=False)
    assert same(with_weights(network, read_weights(source(), tmp_path)))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_gives_its_tensors(tmp_path: Path):
    module = network().half()
    torch.jit.script(module).save(str(tmp_path / "small.pth"))
    tensors = read_weights(source(), tmp_path).tensors
    assert tensors.keys() == module.state_dict().keys()
    assert all(torch.equal(tensors[key], value) for key, value in module.state_dict().items())
    assert filled(network(), read_weights(source(), tmp_path))[0].weight.dtype == torch.float32


def test_counters_may_be_absent(tmp_path: Path):
    fewer = {key: value for key, value in random_tensors().items() if not key.endswith("num_batches_tracked")}
    (tmp_path / "small.pth").write_bytes(saved(fewer))
    assert same(with_weights(network, read_weights(source(), tmp_path)))


def hostile_torchscript() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("small/data.pkl", pickle.dumps(Hostile(), protocol=2))
        archive.writestr("small/constants.pkl", pickle.dumps(()))
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Hostile(), protocol=2),
        saved({"0.weight": Hostile()}),
        hostile_torchscript(),
    ],
    ids=["pickle", "inside a state dictionary", "torchscript"],
)
def test_code_is_never_run(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"small\.pth: cannot be read as weights of small .* never run"):
        read_weights(source(), tmp_path)
    assert not (tmp_path / "ran").exists()


@given(length=st.integers(0, len(GOOD) - 1))
def test_a_file_cut_short_is_named(tmp_path_factory: pytest.TempPathFactory, length: int):
    folder = tmp_path_factory.mktemp("cut")
    (folder / "small.pth").write_bytes(GOOD[:length])
    with pytest.raises(WeightsError, match=r"small\.pth: cannot be read as weights of small"):
        read_weights(source(), folder)


@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_named(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "small.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"small\.pth: "):
        with_weights(network, read_weights(source(), folder))


def test_a_file_that_holds_no_tensors_is_named(tmp_path: Path):
    (tmp_path / "small.pth").write_bytes(saved([1, 2]))
    with pytest.raises(WeightsError, match=r"small\.pth: holds a list, weights are named tensors"):
        read_weights(source(), tmp_path)


def without(key: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in random_tensors().items() if name != key}


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        (without("0.bias"), r"lacks 1 of 8 tensors, such as '0\.bias'"),
        (random_tensors() | {"9.weight": torch.zeros(1)}, r"holds 1 tensors too many, such as '9\.weight'"),
        (
            random_tensors() | {"2.weight": torch.zeros(4, 2)},
            r"'2\.weight' has shape \(4, 2\), the network needs \(2, 4\)",
        ),
        (random_tensors() | {"2.bias": torch.tensor([1.0, torch.nan])}, r"'2\.bias' holds NaN or infinity"),
        (random_tensors() | {"2.bias": torch.tensor([1.0, torch.inf])}, r"'2\.bias' holds NaN or infinity"),
        (random_tensors() | {"2.bias": torch.tensor([1, 2])}, r"'2\.bias' holds torch\.int64, not floats"),
        ({}, r"lacks 8 of 8 tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tensors: dict, sentence: str):
    (tmp_path / "small.pth").write_bytes(saved(tensors))
    with pytest.raises(WeightsError, match=rf"small\.pth: .*{sentence}"):
        with_weights(network, read_weights(source(), tmp_path))
