"""Opening feature extractors by name, and adding names: the one way that the rest of the room uses."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from metrics.features import clip_vit, dinov2, efficientnet_lite0, inception_fid, squeezenet
from metrics.features.inception_fid import InceptionProtocol
from metrics.features.interface import FeatureExtractor
from metrics.features.network_extractor import NetworkExtractor, Precision, Running, chosen_device
from metrics.features.preparation import Preparation
from metrics.features.weight_files import PUBLISHED, WeightSource, filled, read_weights

__all__ = ["extractor", "extractor_names", "register_extractor"]

USUAL_PROTOCOL = "tf1"


class Opener(Protocol):
    """Opens one of our own networks that has a single protocol."""

    def __call__(self, weights: str | Path | None, *, running: Running, sha256: str) -> NetworkExtractor:
        """Return the extractor, ready to run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registered:
    make: Callable[[], nn.Module]
    preparation: Preparation


_OPENERS: dict[str, Opener] = {
    efficientnet_lite0.NAME: efficientnet_lite0.load,
    squeezenet.NAME: squeezenet.load,
    clip_vit.NAME: clip_vit.load,
    **{name: functools.partial(dinov2.load, name) for name in dinov2.NAMES},
}
_REGISTERED: dict[str, _Registered] = {}


def extractor(
    network: str | nn.Module,
    *,
    weights: str | Path | None = None,
    sha256: str = PUBLISHED,
    device: str = "auto",
    precision: Precision = "float32",
    compile: bool = False,
    protocol: str | InceptionProtocol = USUAL_PROTOCOL,
    preparation: Preparation | None = None,
) -> FeatureExtractor:
    """Return a feature extractor, ready to run.

    Args:
        network: one of `extractor_names()`; or a module of your own that takes float pictures (n, 3, side, side) and
            gives (n, d) features, or a tuple of features and (n, c) logits. Your module is copied, not changed.
        weights: its weights file, or the folder of it; None looks into the folder that $HQ_WEIGHTS names, and for
            efficientnet-lite0 and squeezenet1.1 into the installed package. Your own module's are replaced only when a
            file is given.
        sha256: "published" accepts known files alone; "any" accepts every file that fits, whose results then do not
            carry the established name (FID, CMMD's FD-CLIP ...); or the 64 hexadecimal digits of a certain file.
        device: as torch names it; "auto" takes the GPU where there is one.
        precision: "float32", or "bfloat16": about twice as fast, features off by 0.4 % in Inception, 9 % in
            EfficientNet-Lite0.
        compile: make code with torch.compile first; on a CPU it gained nothing.
        protocol: of inception-fid, see `metrics.features.inception_fid.PROTOCOLS`; every other network has one way.
        preparation: of your own module: size, resampling, range. Networks with a name bring theirs.

    Raises:
        MissingWeights: when a file is needed and not there; the message says which to put where.
        WeightsError: when a file is damaged, another one, or does not fit.
        TypeError: when the network is neither a name nor a module.
        ValueError: for an unknown name, protocol, precision or device, or a module without preparation.
    """
    running = Running(device=chosen_device(device), precision=precision, compile=compile)
    if isinstance(network, nn.Module):
        if preparation is None:
            raise ValueError(
                f"a module of your own needs preparation=Preparation(side=..., resize=..., mean=..., std=...): how"
                f" pictures become what {type(network).__name__} was trained on"
            )
        _refuse_protocol(type(network).__name__, protocol)
        made = _Registered(make=lambda: network, preparation=preparation)
        return _wrapped(type(network).__name__, made, weights, sha256=sha256, running=running)
    if not isinstance(network, str):
        raise TypeError(f"network must be a name or a torch.nn.Module, got {type(network).__name__}")
    if preparation is not None:
        raise ValueError(f"{network} brings its own preparation; give none, or pass a module")
    if network == inception_fid.NAME:
        return inception_fid.load(weights, running=running, protocol=protocol, sha256=sha256)
    _refuse_protocol(network, protocol)
    if network in _OPENERS:
        return _OPENERS[network](weights, running=running, sha256=sha256)
    if network in _REGISTERED:
        return _wrapped(network, _REGISTERED[network], weights, sha256=sha256, running=running)
    near = difflib.get_close_matches(network, extractor_names(), 1, 0.0)
    raise ValueError(
        f"there is no extractor {network!r}; did you mean {near[0]!r}? Known: {', '.join(extractor_names())}"
    )


def extractor_names() -> tuple[str, ...]:
    """Return the names that `extractor` takes, our own first."""
    return (inception_fid.NAME, *_OPENERS, *_REGISTERED)


def register_extractor(name: str, make: Callable[[], nn.Module], *, preparation: Preparation) -> None:
    """Let `extractor(name)` open a network of yours; distances over its features are called FD-name.

    Args:
        name: such as "vgg-faces".
        make: returns the network with its weights, or an empty one whose weights file is then passed to `extractor`;
            it takes float pictures (n, 3, side, side) and gives (n, d) features, or a tuple of features and logits.
        preparation: size, resampling and range of what the network was trained on.

    Raises:
        ValueError: when the name is taken.
    """
    if name in extractor_names():
        raise ValueError(f"the name {name!r} is taken; choose another")
    _REGISTERED[name] = _Registered(make=make, preparation=preparation)


def _refuse_protocol(name: str, protocol: str | InceptionProtocol) -> None:
    if protocol != USUAL_PROTOCOL:
        raise ValueError(f"protocol belongs to {inception_fid.NAME}; {name} has one way, got {protocol!r}")


def _wrapped(
    name: str, registered: _Registered, weights: str | Path | None, *, sha256: str, running: Running
) -> NetworkExtractor:
    module = copy.deepcopy(registered.make()).requires_grad_(False)
    if weights is None:
        digest = _digest(module)
    else:
        source = WeightSource(network=name, files=("its file",), sha256=(), origin="whoever trained it")
        read = read_weights(source, weights, sha256=sha256)
        module, digest = filled(module, read), read.sha256
    plain = dataclasses.replace(running, compile=False)
    width = _width(plain.placed(module), registered.preparation, plain)
    return NetworkExtractor(
        module=running.placed(module),
        preparation=registered.preparation,
        running=running,
        name=name,
        width=width,
        sha256=digest,
        protocol=f"{name}: {registered.preparation.describe()}, ddof 1, {running.describe()}",
        distance_name=f"FD-{name}",
    )


def _width(module: Callable[[torch.Tensor], object], preparation: Preparation, running: Running) -> int:
    """Return the length of a feature row, asked of the network with one black picture."""
    black = torch.zeros(1, 3, preparation.side, preparation.side, dtype=torch.uint8, device=running.device)
    with torch.no_grad():
        result = module(preparation(black).to(running.dtype))
    features = result[0] if isinstance(result, tuple) else result
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != 1:
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise ValueError(
            f"the network must give (n, d) features, or a tuple of them and logits, got {shape} for one picture;"
            " average or flatten maps"
        )
    return features.shape[1]


def _digest(module: nn.Module) -> str:
    """Return a hash of the layers as printed and of every tensor: what identifies a network that has no file."""
    digest = hashlib.sha256(repr(module).encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
