"""A file of weights that is broken, or made to do harm, is refused with its name and the cause; nothing in it runs."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import small_networks
import torch
from safetensors.torch import save

from hqdata import restore, upscale
from hqdata.weights import files
from hqdata.weights.registry import METADATA_KEY


def state():
    return small_networks.make("srvgg-x4").state_dict()


def put(path, content):
    torch.save(content, path)
    return path


class Harmful:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path):
    path = put(tmp_path / "evil.pth", {**state(), "extra": Harmful(tmp_path / "harm")})
    with pytest.raises(ValueError, match=r"evil\.pth: wants to run posix\.mkdir .*state_dict\(\)"):
        upscale.load(path)
    assert not (tmp_path / "harm").exists()


def test_code_in_an_old_pickle_is_refused_and_does_not_run(tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Harmful(tmp_path / "harm"), protocol=2))
    with pytest.raises(ValueError, match=r"evil\.pt: "):
        upscale.load(path)
    assert not (tmp_path / "harm").exists()


def test_a_whole_pickled_module_is_refused_with_its_class(tmp_path):
    path = put(tmp_path / "whole.pth", small_networks.make("srvgg-x4"))
    with pytest.raises(ValueError, match=r"whole\.pth: wants to run hqdata\.[\w.]+SRVGGNetCompact .*plain tensors"):
        upscale.load(path)


@pytest.mark.parametrize("kept", [0, 1, 3, 40, 2000, -1])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_cut_file_is_refused(tmp_path, kept, is_zip):
    path = tmp_path / "cut.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.pth: "):
        upscale.load(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_bytes_of_no_format_are_refused(tmp_path, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(ValueError, match=rf"noise\{suffix}: "):
        upscale.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused_with_the_tensors_name(tmp_path, value):
    tensors = state()
    tensors["body.2.weight"][3, 2, 1, 0] = value
    with pytest.raises(ValueError, match=r"sick\.pth: body\.2\.weight holds NaN or infinity"):
        upscale.load(put(tmp_path / "sick.pth", tensors))


def test_a_double_too_large_for_single_precision_is_refused(tmp_path):
    tensors = state() | {"body.0.bias": torch.full((6,), 1e300, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"body\.0\.bias holds NaN or infinity"):
        upscale.load(put(tmp_path / "large.pth", tensors))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({}, "holds nothing; a dictionary of tensors"),
        ({"params": {}}, "holds nothing; a dictionary of tensors"),
        ([torch.zeros(3)], "holds a list, not a dictionary"),
        (torch.zeros(3), "holds a Tensor, not a dictionary"),
        ({"epoch": 3, "loss": 0.5}, r"holds 'epoch' \(int\), 'loss' \(float\) beside 0 tensors"),
        ({0: torch.zeros(3)}, r"holds 0 \(Tensor\) beside 0 tensors"),
        ({"a": torch.zeros(3), "b": torch.zeros(2, 2)}, r"no known architecture .* its tensors: a \(3,\), b \(2, 2\)"),
        ({"a": torch.zeros(3, dtype=torch.int64)}, r"a is a torch\.strided torch\.int64 tensor"),
        ({"a": torch.eye(3).to_sparse()}, r"a is a torch\.sparse_coo torch\.float32 tensor"),
    ],
)
def test_content_that_is_no_state_dictionary_is_refused_with_what_was_seen(tmp_path, content, cause):
    with pytest.raises(ValueError, match=rf"odd\.pth: {cause}"):
        upscale.load(put(tmp_path / "odd.pth", content))


def test_a_tensor_too_few_is_refused_by_name(tmp_path):
    tensors = state()
    del tensors["body.4.bias"]
    with pytest.raises(ValueError, match=r"short\.pth: looks like SRVGG.*, but lacks body\.4\.bias$"):
        upscale.load(put(tmp_path / "short.pth", tensors))


def test_a_tensor_too_many_is_refused_by_name(tmp_path):
    tensors = state() | {"body.2.scale": torch.ones(3)}
    with pytest.raises(ValueError, match=r"long\.pth: looks like SRVGG.*, but has body\.2\.scale besides$"):
        upscale.load(put(tmp_path / "long.pth", tensors))


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(tmp_path):
    tensors = state() | {"body.3.weight": torch.ones(7)}
    with pytest.raises(ValueError, match=r"body\.3\.weight has shape \(7,\) where \(6,\) is needed"):
        upscale.load(put(tmp_path / "wide.pth", tensors))


@pytest.mark.parametrize(
    "tensors",
    [
        {"conv_first.weight": torch.zeros(3), "body.0.rdb1.conv1.weight": torch.zeros(3)},
        {"body.0.rdb1.conv1.weight": torch.zeros(3, 3, 3, 3)},
        {"model.0.weight": torch.zeros(8, 2, 3, 3), "model.2.weight": torch.zeros(1, 8, 3, 3)},
        {f"model.{2 * index}.weight": torch.zeros(1, 1, 3, 3) for index in range(7)},
        {"conv_layers.0.0.weight": torch.zeros(4, 5, 3, 3)},
        {
            "m_head.weight": torch.zeros(4, 3, 3, 3),
            "qf_embed.0.weight": torch.zeros(1),
            "m_up3.0.weight": torch.zeros(1),
        },
        {"body.0.conv1.weight": torch.zeros(1), "upconv1.weight": torch.zeros(1)},
        {"body.0.weight": torch.zeros(4, 3, 3, 3), "body.2.weight": torch.zeros(48, 4, 3, 3)},
        {"model.1.sub.0.RDB1.conv1.0.weight": torch.zeros(1), "x": torch.zeros(1), "model.9²": torch.zeros(1)},
    ],
)
def test_half_of_an_architecture_is_refused_by_file(tmp_path, tensors):
    with pytest.raises(ValueError, match=r"half\.pth: "):
        upscale.load(put(tmp_path / "half.pth", tensors))


def test_a_tensor_that_claims_more_than_the_file_has_is_refused_before_memory_is_taken(tmp_path):
    tensors = state() | {"body.0.weight": torch.zeros(1).expand(10**6, 10**6)}
    with pytest.raises(ValueError, match=r"huge\.pth: body\.0\.weight claims shape .* more values than the file"):
        upscale.load(put(tmp_path / "huge.pth", tensors))


def test_tensors_that_share_values_are_refused_before_memory_is_taken(tmp_path):
    row = torch.zeros(10_000, dtype=torch.float16)
    path = put(tmp_path / "shared.pth", {f"body.{index}.weight": row[None] for index in range(50)})
    with pytest.raises(ValueError, match=r"shared\.pth: its tensors claim 1,000,000 bytes together, but the file has"):
        upscale.load(path)


def test_more_layers_than_anyone_trains_are_refused_before_they_are_built(tmp_path):
    layers = {f"body.{index}.none": torch.zeros(0) for index in range(1001)}
    first = {"conv_first.weight": torch.zeros(4, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.zeros(2, 4, 3, 3)}
    with pytest.raises(ValueError, match=r"deep\.pth: has 1,001 layers named like .*; at most 1,000 are loaded"):
        upscale.load(put(tmp_path / "deep.pth", first | layers))


@pytest.mark.parametrize("claim", ["storage", "shape"])
def test_a_pickle_that_claims_more_than_its_record_is_refused(tmp_path, claim):
    """The number 8 stands in the pickle twice: values of the storage, then the tensor's only axis."""
    whole = io.BytesIO()
    torch.save({"a": torch.arange(8.0)}, whole)
    path = tmp_path / "lying.pth"
    with zipfile.ZipFile(whole) as given, zipfile.ZipFile(path, "w") as made:
        for entry in given.infolist():
            data = given.read(entry)
            if entry.filename.endswith("data.pkl"):
                head, middle, tail = data.split(b"K\x08")
                lie = b"J" + struct.pack("<i", 10**9)
                data = (
                    head + lie + middle + b"K\x08" + tail
                    if claim == "storage"
                    else head + b"K\x08" + middle + lie + tail
                )
            made.writestr(entry.filename, data)
    with pytest.raises(ValueError, match=r"lying\.pth: "):
        upscale.load(path)


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match=r"bomb\.pth: an archive of [\d,]+ bytes that unpacks to 10,000,000"):
        upscale.load(path)


def safetensors_with(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**62) + b"{}",
        safetensors_with({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_with({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}}, bytes(4)),
        safetensors_with({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(4)),
        safetensors_with({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_with(["a"]),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
    ids=["length", "shape", "end", "gap", "type", "list", "nested"],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, data):
    path = tmp_path / "lying.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"lying\.safetensors: not a whole safetensors file"):
        restore.load(path)


GOOD = {"name": "x", "architecture": "red-net", "channels": 4, "pairs": 2}


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ({"channels": 10**9}, "its channels is 1000000000; 1 to 1024 is allowed"),
        ({"channels": 1024, "pairs": 256}, "names 256 pairs of 1024 channels, but has 1 values only"),
        ({"channels": 1024, "pairs": 1}, "does not fit the architecture that it names"),
        ({"pairs": 0}, "its pairs is 0"),
        ({"pairs": -1}, "its pairs is -1"),
        ({"pairs": True}, "its pairs is True"),
        ({"pairs": 2.0}, r"its pairs is 2\.0"),
        ({"pairs": "2"}, "its pairs is '2'"),
        ({"pairs": None}, "its pairs is None"),
        ({"name": "../../up"}, r"its name is '\.\./\.\./up'"),
        ({"name": ""}, "its name is ''"),
        ({"name": "x" * 65}, "its name is 'x"),
        ({"name": 3}, "its name is 3"),
        ({"architecture": ["red-net"]}, r"its architecture is \['red-net'\]; a name is needed"),
        ({"architecture": "blue-net"}, "holds a 'blue-net', but symmetric-autoencoder, red-net is needed here"),
        ({"architecture": None}, "its architecture is None; a name is needed"),
    ],
)
def test_a_header_of_ours_with_other_values_is_refused_with_the_key(tmp_path, header, cause):
    path = tmp_path / "ours.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={METADATA_KEY: json.dumps(GOOD | header)}))
    with pytest.raises(ValueError, match=rf"ours\.safetensors: {cause}"):
        restore.load(path)


@pytest.mark.parametrize("text", ["", "[", "3", '"x"', "[1, 2]", "[" * 50_000])
def test_a_header_of_ours_that_is_no_object_is_refused(tmp_path, text):
    path = tmp_path / "ours.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={METADATA_KEY: text}))
    with pytest.raises(ValueError, match=r"ours\.safetensors: its 'hqdata' metadata is no JSON object"):
        restore.load(path)


@pytest.mark.parametrize("kind", ["F4", "F8_E8M0"])
def test_a_number_format_that_torch_lacks_is_refused(tmp_path, kind):
    path = tmp_path / "new.safetensors"
    size = 4 if kind == "F4" else 8
    tensor = {"dtype": kind, "shape": [8], "data_offsets": [0, size]}
    path.write_bytes(safetensors_with({"__metadata__": {METADATA_KEY: json.dumps(GOOD)}, "a": tensor}, bytes(size)))
    with pytest.raises(ValueError, match=r"new\.safetensors: not a whole safetensors file"):
        restore.load(path)


@pytest.mark.parametrize("load", [restore.load, upscale.load])
def test_a_folder_is_refused(tmp_path, load):
    with pytest.raises(ValueError, match="weights cannot be read: it is a folder; give a file"):
        load(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match=r"pipe\.pth: weights cannot be read: it is a pipe or a device"):
        upscale.load(tmp_path / "pipe.pth")


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a.pth").symlink_to(tmp_path / "b.pth")
    (tmp_path / "b.pth").symlink_to(tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: weights cannot be read: Too many levels of symbolic links"):
        upscale.load(tmp_path / "a.pth")


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = put(tmp_path / "secret.pth", state())

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match=r"secret\.pth: weights cannot be read: Permission denied"):
        upscale.load(path)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = put(tmp_path / "vast.pth", state())
    monkeypatch.setattr(files, "LIMIT_BYTES", 100)
    with pytest.raises(ValueError, match=r"vast\.pth: has [\d,]+ bytes; weights of at most 100 are read"):
        upscale.load(path)
