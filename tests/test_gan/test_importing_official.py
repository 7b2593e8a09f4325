import collections
import contextlib
import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import official_progan as oracle

from gan.checkpoint import load_snapshot, save_generator
from gan.importing import ForeignFileError, import_file
from gan.importing.official import read_official
from gan.importing.refusal import MOST_BYTES
from gan.layers import enlarge
from gan.sample import generate

MAPS = {2: 12, 3: 12, 4: 8}  # min(64 >> (level - 1), 12)


def _state(name: str, found: dict, **settings: Any) -> dict:
    return {
        "version": 2,
        "name": name,
        "static_kwargs": {"num_channels": 3, "resolution": 16, "label_size": 0, **settings},
        "build_module_src": "raise SystemExit('the source in a pickle was run')",
        "build_func_name": "D_paper" if name == "D" else "G_paper",
        "variables": list(found.items()),
    }


def _pickled(*states: dict, protocol: int = 4, root: str = "tfutil", single: bool = False) -> bytes:
    """Return the pickle that the authors' code writes: instances of a class that is only there while pickling."""
    module: Any = types.ModuleType(root)

    class Network:
        def __init__(self, state: dict) -> None:
            self.state = state

        def __getstate__(self) -> dict:
            return self.state

    Network.__module__, Network.__qualname__ = root, "Network"
    module.Network = Network
    before = sys.modules.get(root)
    sys.modules[root] = module
    try:
        networks = tuple(Network(state) for state in states)
        return pickle.dumps(networks[0] if single else networks, protocol=protocol)
    finally:
        del sys.modules[root]
        if before is not None:
            sys.modules[root] = before


def _three(*, fused: bool = True, labels: int = 0, lod: float = 0.0, **settings: Any) -> tuple[dict, dict, dict]:
    rng = np.random.default_rng(0)
    shared = {"resolution": 16, "maps": MAPS, "labels": labels, "fused": fused}
    trained, averaged = (oracle.variables(rng, kind="G", **shared) for _ in range(2))
    judge = oracle.variables(rng, kind="D", **shared)
    for found in (trained, judge, averaged):
        found["lod"] = np.float32(lod)
    settings = {"label_size": labels, "fused_scale": fused, **settings}
    return _state("G", trained, **settings), _state("D", judge, **settings), _state("Gs", averaged, **settings)


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "network-final.pkl"
    path.write_bytes(data)
    return path


def _variables(state: dict) -> dict:
    return dict(state["variables"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "separate"])
def test_pictures_are_those_of_the_authors_code(tmp_path: Path, fused: bool, protocol: int):
    states = _three(fused=fused)
    networks = read_official(_file(tmp_path, _pickled(*states, protocol=protocol)))
    latents = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    made = networks.generator(torch.from_numpy(latents)), networks.average(torch.from_numpy(latents))
    wanted = [oracle.generator(_variables(state), latents, fused=fused) for state in (states[0], states[2])]
    np.testing.assert_allclose(made[0], wanted[0], atol=1e-5)
    np.testing.assert_allclose(made[1], wanted[1], atol=1e-5)


@pytest.mark.parametrize(("lod", "level", "fade"), [(0.0, 4, 1.0), (0.25, 4, 0.75), (1.0, 3, 1.0), (1.5, 3, 0.5)])
def test_a_fade_is_gone_on_where_the_training_stood(tmp_path: Path, lod: float, level: int, fade: float):
    states = _three(lod=lod)
    networks = read_official(_file(tmp_path, _pickled(*states)))
    assert (networks.level, networks.fade) == (level, fade)
    latents = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    pictures = networks.average(torch.from_numpy(latents), level=level, fade=fade)
    whole = pictures if level == 4 else enlarge(pictures)
    np.testing.assert_allclose(whole, oracle.generator(_variables(states[2]), latents), atol=1e-5)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "separate"])
@pytest.mark.parametrize("lod", [0.0, 0.4])
@pytest.mark.parametrize("group", [2, 4])
def test_scores_are_those_of_the_authors_code(tmp_path: Path, fused: bool, lod: float, group: int):
    states = _three(fused=fused, lod=lod, mbstd_group_size=group, labels=2)
    networks = read_official(_file(tmp_path, _pickled(*states)))
    images = np.random.default_rng(1).uniform(-1, 1, (4, 3, 16, 16)).astype(np.float32)
    assert networks.discriminator is not None
    scores, logits = networks.discriminator.judge(torch.from_numpy(images), level=4, fade=networks.fade)
    wanted = oracle.discriminator(_variables(states[1]), images, fused=fused, group=group)
    np.testing.assert_allclose(torch.cat([scores[:, None], logits], dim=1), wanted, rtol=1e-5, atol=1e-5)


def test_labels_are_joined_to_the_latents(tmp_path: Path):
    states = _three(labels=2)
    networks = read_official(_file(tmp_path, _pickled(*states)))
    latents = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    labels = np.eye(2, dtype=np.float32)
    made = networks.average(torch.from_numpy(latents), torch.from_numpy(labels))
    np.testing.assert_allclose(made, oracle.generator(_variables(states[2]), latents, labels), atol=1e-5)


def test_weights_that_were_not_scaled_at_run_time_are_taken_as_they_are(tmp_path: Path):
    states = _three(use_wscale=False)
    networks = read_official(_file(tmp_path, _pickled(*states)))
    latents = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    wanted = oracle.generator(_variables(states[2]), latents, wscale=False)
    np.testing.assert_allclose(networks.average(torch.from_numpy(latents)), wanted, rtol=1e-4, atol=1e-3)


def test_a_generator_alone_is_its_own_average(tmp_path: Path):
    networks = read_official(_file(tmp_path, _pickled(_three()[0], single=True)))
    assert networks.generator is networks.average
    assert networks.discriminator is None


def test_the_saved_generator_draws_the_same_pictures(tmp_path: Path):
    imported = import_file(_file(tmp_path, _pickled(*_three(lod=0.25))))
    saved = tmp_path / "generator.safetensors"
    save_generator(saved, imported.generator, level=imported.level, fade=imported.fade, images=0)
    snapshot = load_snapshot(saved)
    latents = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    again, first = (
        generate(network, latents, level=imported.level, fade=imported.fade)
        for network in (snapshot.generator, imported.generator)
    )
    assert torch.equal(again, first)
    assert (snapshot.level, snapshot.fade) == (4, 0.75)


def test_the_source_code_in_a_pickle_is_not_run(tmp_path: Path):
    read_official(_file(tmp_path, _pickled(*_three())))  # would exit


class _Runs:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def _traces(folder: Path) -> str:
    return f"touch {folder / 'trace'}"


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("nested", [False, True], ids=["at the top", "inside a network"])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (exec, "exec"), (getattr, "getattr"), (io.open, "open")],
)
def test_a_call_is_refused_by_name(tmp_path: Path, function: Any, name: str, nested: bool, protocol: int):
    call = _Runs(function, _traces(tmp_path))
    state = _three()[0] | {"static_kwargs": {"resolution": call}}
    data = _pickled(state, protocol=protocol) if nested else pickle.dumps(call, protocol=protocol)
    with pytest.raises(ForeignFileError, match=rf"network-final.pkl: asks for [\w.]+\.{name}, which is refused"):
        read_official(_file(tmp_path, data))
    assert not (tmp_path / "trace").exists()


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


HOSTILE = {
    "a name put together on the stack": (
        b"\x80\x04" + _text("os") + b"\x94" + _text("system") + b"\x94" + b"h\x00h\x01\x93" + _text("true") + b"\x85R.",
        r"asks for os\.system, which",
    ),
    "a dotted name": (
        b"\x80\x04" + _text("numpy") + _text("f2py.os.system") + b"\x93.",
        r"asks for numpy\.f2py\.os\.system",
    ),
    "a nested reduce": (
        b"\x80\x02cnumpy\ndtype\n" + b"cbuiltins\neval\n" + b"X\x01\x00\x00\x001\x85R\x85R.",
        r"asks for builtins\.eval",
    ),
    "an instance": (b"\x80\x02(ios\nsystem\n.", "instruction INST"),
    "an object": (b"\x80\x02(X\x01\x00\x00\x00aX\x01\x00\x00\x00bo.", "instruction OBJ"),
    "an extension": (b"\x80\x02\x82\x01.", "instruction EXT1"),
    "a persistent name": (b"\x80\x02X\x01\x00\x00\x00aQ.", "instruction BINPERSID"),
    "an outside buffer": (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
    "a great many places": (b"\x80\x02Kar\xff\xff\xff\x7f.", "reserves 2,147,483,647 places"),
    "deep nesting": (b"\x80\x02)" + b"\x85" * 30_000 + b".", "more than 20,000 instructions"),
    "a state put on a class": (b"\x80\x02ctfutil\nNetwork\n}X\x01\x00\x00\x00aKas\x86b.", "network pickle"),
    "a network without state": (b"\x80\x02ctfutil\nNetwork\n)\x81.", "other things than networks"),
    "an empty tuple": (b"\x80\x02).", "other things than networks"),
    "a Theano network": (b"\x80\x02cnetwork\nNetwork\n)\x81.", "authors' Theano code"),
    "a network of StyleGAN": (b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81.", r"dnnlib\.tflib\.network\.Network"),
    "no pickle": (b"\x80\x04nothing", "is no network pickle"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused_with_the_reason(tmp_path: Path, data: tuple[bytes, str]):
    with pytest.raises(ForeignFileError, match=data[1]):
        read_official(_file(tmp_path, data[0]))


@pytest.mark.parametrize(
    "values",
    [
        np.array([os.system], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.zeros(2, dtype="M8[s]"),
        np.ma.zeros(2),
    ],
    ids=["objects", "text", "records", "dates", "a subclass"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, values: np.ndarray, protocol: int):
    state = _three()[0]
    state["variables"].append(("strange", values))
    with pytest.raises(ForeignFileError, match=r"refused"):
        read_official(_file(tmp_path, _pickled(state, protocol=protocol)))


def test_a_mapping_that_runs_code_when_filled_is_refused(tmp_path: Path):
    state = _three()[0] | {"static_kwargs": collections.defaultdict(list)}
    with pytest.raises(ForeignFileError, match=r"collections\.defaultdict"):
        read_official(_file(tmp_path, _pickled(state)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float):
    data = _pickled(*_three())
    with pytest.raises(ForeignFileError, match=r"network-final.pkl: is"):
        import_file(_file(tmp_path, data[: int(len(data) * share)]))


def test_any_changed_byte_is_refused_or_changes_numbers_alone(tmp_path: Path):
    data = _pickled(*_three())
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.integers(0, 1500, 200), rng.integers(0, len(data), 100)])
    for place, value in zip(places, rng.integers(0, 256, len(places)), strict=True):
        changed = bytearray(data)
        changed[place] = value
        with contextlib.suppress(ForeignFileError):
            assert import_file(_file(tmp_path, changed)).generator.shape.resolution == 16


def test_too_large_a_file_is_not_even_read(tmp_path: Path):
    path = _file(tmp_path, b"\x80\x04")
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(ForeignFileError, match="2,147,483,649 bytes"):
        read_official(path)


def test_bytes_that_do_not_fill_an_array_are_refused(tmp_path: Path):
    data = _pickled(*_three(), protocol=4)
    shape = pickle.dumps((3, 3, 12, 12), protocol=4)[11:-2]
    assert shape in data
    other = shape.replace(b"K\x0cK\x0c", b"K\x0cK\x0d")
    with pytest.raises(ForeignFileError, match=r"bytes do not fill the shape \(3, 3, 12, 13\)"):
        read_official(_file(tmp_path, data.replace(shape, other)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "version 1, wanted 2"),
        ({"build_func_name": "G_style"}, "'G_style'; only G_paper"),
        ({"static_kwargs": {"fmap_decay": 2.0}}, "fmap_decay=2.0; networks here need 1.0"),
        ({"static_kwargs": {"use_pixelnorm": False}}, "use_pixelnorm=False"),
        ({"variables": []}, "lacks the variable 4x4/Conv/weight"),
        ({"variables": None}, "variables are missing"),
    ],
)
def test_a_network_that_cannot_be_built_here_is_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ForeignFileError, match=message):
        read_official(_file(tmp_path, _pickled(_three()[0] | changes)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("8x8/Conv1/weight", np.zeros((3, 3, 12, 9), np.float32), "feature maps by level are {2: 12, 3: 9, 4: 8}"),
        (
            "8x8/Conv0_up/weight",
            np.zeros((3, 3, 12, 9), np.float32),
            r"Conv0_up has the shape \(12, 9, 3, 3\)",
        ),
        ("4x4/Conv/weight", np.zeros((3, 3, 0, 10**9), np.float32), "feature maps by level"),
        ("4x4/Dense/weight", np.zeros((10**12, 0), np.float32), r"4x4/Dense has the shape \(0, 1000000000000\)"),
        ("8x8/Conv1/bias", np.zeros((2, 2), np.float32), r"8x8/Conv1 has the shape \(2, 2\)"),
        ("ToRGB_lod0/weight", np.zeros(3, np.float32), "its networks are damaged"),
        ("ToRGB_lod1/bias", np.full(3, np.nan, np.float32), "ToRGB_lod1 holds NaN"),
        ("lod", np.float32(7.0), "lod is 7.0"),
    ],
)
def test_a_damaged_variable_is_named(tmp_path: Path, name: str, value: np.ndarray, message: str):
    state = _three()[0]
    state["variables"] = list((_variables(state) | {name: value}).items())
    with pytest.raises(ForeignFileError, match=message):
        read_official(_file(tmp_path, _pickled(state)))


def test_a_file_of_another_kind_is_named(tmp_path: Path):
    with pytest.raises(ForeignFileError, match="is neither a pickle of the authors'"):
        import_file(_file(tmp_path, b"\x89PNG"))
