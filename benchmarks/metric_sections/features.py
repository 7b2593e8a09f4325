"""Feature extractors: FID's Inception against torch-fidelity's under the same random weights, and the resizing.

torch-fidelity need not be installed here: `PYTHONPATH=FOLDER` with a copy of it is enough; without it our side alone is
measured.
"""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from measure import Row, compare
from random_inception import write_random_inception
from torch import Tensor

from metrics.features import MissingWeights, extractor
from metrics.features.resizing import RESIZERS

PEER = "torch-fidelity"


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the comparisons at 128 px, with few pictures when quick; on the CPU."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 if quick else 32, 3, 128, 128), dtype=torch.uint8, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        weights = write_random_inception(Path(folder) / "pt_inception-2015-12-05-6726825d.pth")
        yield from _inception(weights, images, turns=1 if quick else 3)
    yield from _resizing(4 if quick else 16, _peers_resize())
    yield from _offline(images)


def _inception(weights: Path, images: Tensor, *, turns: int) -> Iterator[Row]:
    peer = _peers_network(weights)
    whose = PEER if peer else ""
    for precision in ("float32", "bfloat16"):
        ours = extractor("inception-fid", weights=weights, sha256="any", device="cpu", precision=precision)
        made = ours.embed(images).features
        wanted = peer(images) if peer else None
        row = compare(
            f"inception-fid, {len(images)} pictures of 128 px, {precision}",
            ours=lambda ours=ours: ours.embed(images),
            theirs=(lambda: peer(images)) if peer else None,
            whose=f"{whose} float32" if peer else "",
            turns=turns,
        )
        yield replace(row, note=f"{len(images) / row.ours_s:.1f} img/s, {_difference(made, wanted)}")


def _resizing(count: int, peer: Callable[[Tensor], Tensor] | None) -> Iterator[Row]:
    for side in (64, 256, 1024):
        generator = torch.Generator().manual_seed(side)
        images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
        for name, resize in RESIZERS.items():
            theirs = peer if name == "tf1" else None
            resize(images, 299, 299)
            row = compare(
                f"resizing {side} to 299 px, {name}",
                ours=lambda resize=resize, images=images: resize(images, 299, 299),
                theirs=(lambda images=images: peer(images.float())) if theirs else None,
                whose=PEER if theirs else "",
            )
            yield replace(row, note=f"{count / row.ours_s:.0f} img/s")


def _offline(images: Tensor) -> Iterator[Row]:
    for precision in ("float32", "bfloat16"):
        try:
            ours = extractor("efficientnet-lite0", device="cpu", precision=precision)
        except MissingWeights:
            return
        ours.embed(images)
        row = compare(
            f"efficientnet-lite0, {len(images)} pictures of 128 px, {precision}",
            ours=lambda ours=ours: ours.embed(images),
            theirs=None,
        )
        yield replace(row, note=f"{len(images) / row.ours_s:.1f} img/s")


def _peers_network(weights: Path) -> Callable[[Tensor], Tensor] | None:
    module = _peer("feature_extractor_inceptionv3")
    if module is None:
        return None
    network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(weights))
    with torch.no_grad():
        network(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    return lambda images: torch.cat([network(batch)[0] for batch in images.split(16)])


def _peers_resize() -> Callable[[Tensor], Tensor] | None:
    module = _peer("interpolate_compat_tensorflow")
    if module is None:
        return None
    resize = module.interpolate_bilinear_2d_like_tensorflow1x
    return lambda images: resize(images, size=(299, 299), align_corners=False)


def _peer(name: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what newer Pythons deprecate
        try:
            return importlib.import_module(f"torch_fidelity.{name}")
        except ImportError:
            return None


def _difference(made: Tensor, wanted: Tensor | None) -> str:
    if wanted is None:
        return f"{PEER} is not installed"
    return f"greatest difference {float((made - wanted).abs().max() / wanted.abs().max()):.0e} of the greatest"
