"""FID's own network, and the protocols under which published numbers were computed with it.

The weights are one file, `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid, whose bytes are also torch-fidelity's
`weights-inception-2015-12-05-6726825d.pth`; 96 MB, Apache-2.0. Numbers of two protocols are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from metrics.features.inception_layers import WIDTHS, InceptionTrunk
from metrics.features.network_extractor import NetworkExtractor, Running
from metrics.features.preparation import Preparation
from metrics.features.weight_files import PUBLISHED, WeightSource, read_weights, with_weights

__all__ = ["NAME", "PROTOCOLS", "SOURCE", "InceptionProtocol", "load"]

NAME = "inception-fid"
SIDE = 299
SOURCE = WeightSource(
    network=NAME,
    files=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    sha256=("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",),
    origin="the releases of mseitzer/pytorch-fid or toshas/torch-fidelity",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionProtocol:
    """One way of computing FID; `dataclasses.replace` makes others, such as another layer."""

    name: str
    resize: str
    """To 299 x 299, one of `metrics.features.resizing.RESIZERS`; nothing is rounded to levels afterwards."""
    middle: float
    """The level that becomes 0; 255 becomes 0.992 for 128, and 1 for 127.5."""
    layer: str = "2048"
    """"2048" (pool3), "768", "192", "64" (means over the maps), or "spatial" (2023 places and channels, for sFID)."""
    ddof: int = 1
    """Subtracted from the count in the covariance's divisor."""

    def __post_init__(self) -> None:
        if self.layer not in WIDTHS:
            raise ValueError(f"layer must be one of {', '.join(WIDTHS)}, got {self.layer!r}")
        if self.ddof not in (0, 1):
            raise ValueError(f"ddof must be 0 or 1, got {self.ddof}")

    @property
    def preparation(self) -> Preparation:
        """(level - middle) / middle of the squeezed picture."""
        middle = (self.middle / 255, self.middle / 255, self.middle / 255)
        return Preparation(side=SIDE, resize=self.resize, mean=middle, std=middle)


_ALL = (
    InceptionProtocol(name="tf1", resize="tf1", middle=128.0),
    InceptionProtocol(name="torch", resize="torch", middle=127.5),
    InceptionProtocol(name="clean", resize="clean", middle=128.0),
    InceptionProtocol(name="stylegan3", resize="tf1", middle=128.0, ddof=0),
    InceptionProtocol(name="adm", resize="tf1", middle=128.0),
    InceptionProtocol(name="adm-spatial", resize="tf1", middle=128.0, layer="spatial"),
    InceptionProtocol(name="torchmetrics", resize="antialias", middle=128.0),
)
PROTOCOLS: Mapping[str, InceptionProtocol] = MappingProxyType({protocol.name: protocol for protocol in _ALL})
"""Whose numbers, in this order: TTUR and torch-fidelity, pytorch-fid, clean-fid, StyleGAN2 and 3, guided-diffusion, its
sFID, torchmetrics since 1.8."""


def load(
    weights: str | Path | None = None,
    *,
    running: Running,
    protocol: str | InceptionProtocol = "tf1",
    sha256: str = PUBLISHED,
) -> NetworkExtractor:
    """Return the extractor; `running.device` must be a real one.

    Args:
        weights: the file, or its folder; None looks into $HQ_WEIGHTS.
        running: where and how.
        protocol: a name of `PROTOCOLS`, or one of your own.
        sha256: see `metrics.features.weight_files.read_weights`.

    Raises:
        MissingWeights: when there is no file; the message says which to put where.
        WeightsError: when the file is not the known one, or does not fit.
        ValueError: for an unknown protocol.
    """
    chosen = PROTOCOLS.get(protocol) if isinstance(protocol, str) else protocol
    if chosen is None:
        raise ValueError(f"protocol of {NAME} must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    read = read_weights(SOURCE, weights, sha256=sha256)
    module = with_weights(lambda: InceptionTrunk(chosen.layer), read)
    module.fold()
    return NetworkExtractor(
        module=running.placed(module),
        preparation=chosen.preparation,
        running=running,
        name=NAME,
        width=WIDTHS[chosen.layer],
        sha256=read.sha256,
        protocol=_described(chosen, running),
        distance_name=_distance_name(chosen.layer, read.sha256 if not read.published else ""),
        ddof=chosen.ddof,
    )


def _described(protocol: InceptionProtocol, running: Running) -> str:
    parts = (protocol.preparation.describe(), f"layer {protocol.layer}", f"ddof {protocol.ddof}", running.describe())
    return f"{NAME}/{protocol.name}: {', '.join(parts)}"


def _distance_name(layer: str, strange: str) -> str:
    """Return "FID" for pool3 of the published weights alone; others' numbers must not pass for it."""
    if strange:
        return f"FD-{NAME}-{layer}-{strange[:8]}"
    return {"2048": "FID", "spatial": "sFID"}.get(layer, f"FD-{NAME}-{layer}")
