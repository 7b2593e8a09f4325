"""A build's settings boiled down to what its tasks need, and the fingerprints that say which work is still valid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hqdata import restore, upscale
from hqdata.crop_plan import Mode
from hqdata.landmarks.mtcnn_weights import WEIGHTS_SHA256
from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source
from hqdata.storage import Folder, open_folder
from hqdata.weights.loading import is_file, weights_sha256
from pipelines.config import BuildConfig, LandmarksConfig, RestoreConfig, UpscaleConfig
from pipelines.ledger import fingerprint
from pipelines.photo_index import order_key

__all__ = [
    "STAGE_VERSIONS",
    "Job",
    "check_weights",
    "crop_name",
    "list_photos",
    "make_job",
    "photos_key",
    "weights_in_use",
]

STAGE_VERSIONS = {"find": 1, "score": 3, "pack": 1}
"""Raised when a stage's output changes for the same input, so that the ledger redoes exactly what is stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a task needs beside its photos; small, hashable and the same for every task of a build."""

    root: str
    run: str
    """Path or URL of the run folder; ledger and cache are below its work folder."""
    find_key: str
    score_key: str
    provider: str
    landmarks: LandmarksConfig
    limit_pixels: int
    restore: RestoreConfig
    upscale: UpscaleConfig
    weights: tuple[tuple[str, str], ...]
    """What each network in use is for, and the sha256 of its weights."""
    size: int
    mode: Mode
    device: str
    """"cpu" or "cuda": what every worker computes on."""
    cache: Literal["auto", "off", "all"]

    @property
    def run_folder(self) -> Folder:
        """The run folder."""
        return open_folder(self.run)

    @property
    def crops(self) -> Folder:
        """Where rendered crops are cached; see `crop_name`."""
        return self.folder("crops", self.score_key)

    def folder(self, name: str, key: str) -> Folder:
        """Return the ledger or cache folder of a stage."""
        return self.run_folder / WORK_FOLDER / name / key


def crop_name(face: str) -> str:
    """Return where below `Job.crops` the crop of the face with this id is cached."""
    name = order_key(face)
    return f"{name[:2]}/{name[:40]}.png"


def make_job(config: BuildConfig, source: Source, run: Folder, device: str) -> Job:
    """Return the job for a source, with `auto` settings resolved.

    Raises:
        ConfigError: for weights that are not there, or annotations asked of a source that has none.
    """
    provider = config.landmarks.provider
    if provider == "auto":
        provider = "annotations" if source.kind == "celeba" else "mtcnn"
    if provider == "annotations" and source.kind != "celeba":
        raise ConfigError(f"{source.root}: has no annotations, only a CelebA folder has; give --landmarks mtcnn")
    limit_pixels = round(config.source.limit_megapixels * 1e6)
    weights = weights_in_use(config, provider)
    detector = {name: sha256 for name, sha256 in weights.items() if name not in ("restore", "upscale")}
    find_key = fingerprint(
        {
            "stage": STAGE_VERSIONS["find"],
            "provider": provider,
            "weights": detector,
            "limit_pixels": limit_pixels,
            "device": device,
        }
    )
    score_key = fingerprint(
        {
            "stage": STAGE_VERSIONS["score"],
            "find": find_key,
            "weights": weights,
            "when": [config.restore.when, config.upscale.when],
            "precision": [config.restore.precision, config.upscale.precision],
            "size": config.align.size,
            "mode": config.align.mode,
            "device": device,
        }
    )
    return Job(
        root=source.root,
        run=run.url,
        find_key=find_key,
        score_key=score_key,
        provider=provider,
        landmarks=config.landmarks,
        limit_pixels=limit_pixels,
        restore=replace(config.restore, weights=_anywhere(config.restore.weights)),
        upscale=replace(config.upscale, weights=_anywhere(config.upscale.weights)),
        weights=tuple(weights.items()),
        size=config.align.size,
        mode=config.align.mode,
        device=device,
        cache=config.run.cache,
    )


def _anywhere(weights: str) -> str:
    """Return a file's absolute path, since workers have other working folders; names of weights stay."""
    return str(Path(weights).expanduser().resolve()) if is_file(weights) else weights


def list_photos(source: Source, job: Job) -> Sequence[PhotoRef]:
    """Return the source's photos; where annotations are used, an edited one gives its photo another version."""
    if job.provider != "annotations":
        return source.photos
    versions = (f"{ref.version}-{fingerprint({'landmarks': ref.landmarks})}" for ref in source.photos)
    return [replace(ref, version=version) for ref, version in zip(source.photos, versions, strict=True)]


def photos_key(photos: Iterable[PhotoRef]) -> str:
    """Return the fingerprint of the whole list: which photos, in which versions, with which attributes."""
    total = hashlib.sha256()
    for ref in photos:
        total.update(repr((ref.id, ref.path, ref.version, list(ref.attributes.items()))).encode())
    return total.hexdigest()[:16]


def weights_in_use(config: BuildConfig, provider: str) -> dict[str, str]:
    """Return the sha256 of every file of weights that this build runs, by what it is for."""
    detector = {f"landmarks {name}": sha256 for name, sha256 in WEIGHTS_SHA256.items()} if provider == "mtcnn" else {}
    networks = {"restore": config.restore, "upscale": config.upscale}
    return detector | {
        name: weights_sha256(network.weights) for name, network in networks.items() if network.when != "never"
    }


def check_weights(config: BuildConfig) -> None:
    """Convert weights that need it, once, before any worker starts.

    Raises:
        ConfigError: for weights that are not there, or that no worker could use.
    """
    for settings, load in ((config.restore, restore.load), (config.upscale, upscale.load)):
        if settings.when == "never":
            continue
        try:
            load(settings.weights)
        except ValueError as error:
            raise ConfigError(str(error)) from error
