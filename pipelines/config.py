"""The settings of a build: one frozen dataclass a section; how they are read: `hqdata.settings`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hqdata.settings import ConfigError, load_settings, settings_from_dict
from pipelines.where import parse_condition

__all__ = [
    "AlignConfig",
    "BuildConfig",
    "LandmarksConfig",
    "PackConfig",
    "RestoreConfig",
    "RunConfig",
    "SelectConfig",
    "SourceConfig",
    "UpscaleConfig",
    "config_from_dict",
    "load_config",
]


SHIPPED = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where the photos are."""

    root: str = ""
    """Folder or fsspec URL."""
    kind: Literal["auto", "celeba", "photos"] = "auto"
    """`auto` is celeba where the folder has CelebA's own sub-folders, photos otherwise."""
    limit_megapixels: float = 200.0
    """A photo with more pixels than this, by its header, is dropped before it is decoded."""
    allow_subset: bool = False
    """Accept a CelebA folder in which annotations and pictures do not match one to one; the common ones are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarksConfig:
    """How faces are found."""

    provider: Literal["auto", "annotations", "mtcnn"] = "auto"
    """`auto` is annotations for a celeba source, mtcnn for photos."""
    faces: Literal["all", "largest"] = "all"
    min_face_px: float = 40.0
    """Smallest side of the crop rectangle, in pixels of the photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreConfig:
    """JPEG-artefact removal."""

    when: Literal["needed", "always", "never"] = "needed"
    """`needed`: unless an output pixel averages 4 x 4 or more photo pixels. `always`: the paper's way."""
    weights: str = "dejpeg-small"
    """Name of shipped weights, or a file: ours or a state dictionary of a known architecture."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where every worker's device has it, and gives slightly other pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleConfig:
    """4x super-resolution."""

    when: Literal["needed", "always", "never"] = "needed"
    """`needed`: only where the face has fewer pixels than the output. `always`: the paper's way."""
    weights: str = "sr4-small"
    """Name of shipped or converted weights, or a file: ours or a state dictionary of a known architecture."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where every worker's device has it, and gives slightly other pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    """The crop."""

    size: int = 1024
    """Side of the square output in pixels, a power of two."""
    mode: Literal["accurate", "fast", "exact"] = "accurate"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectConfig:
    """Which crops are kept."""

    count: int = 30_000
    """The best this many; all of them when there are fewer."""
    where: str = ""
    """A condition on the columns of scores.parquet, such as `score > 20 and Male == 1`; empty allows every face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackConfig:
    """How the kept crops are written."""

    rows_per_shard: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How the work is spread; nothing here changes a byte of the result."""

    workers: int = 0
    """Worker processes on this machine; 0 means one a core."""
    chunk_photos: int = 8
    """Photos a task; aim at 10-60 seconds."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the networks run on; auto is the run's device so far, else cuda where every worker has a GPU."""
    pilot_photos: int = 80_000
    """The score of the last chosen face is estimated anew each time the scored photos double, up to this many."""
    cache: Literal["auto", "off", "all"] = "auto"
    """Which crops are kept in RUN/work: those that may be chosen, none (each chosen face is rendered twice), or all."""
    keep_cache: bool = True
    """Keep the chosen crops in RUN/work, so that another count or shard size need not render them again."""
    quarantine_limit: float = 0.001
    """Share of the photos, 0..1, that may be quarantined or fail by no fault of theirs before `hqdata` exits with 3."""
    performance_report: bool = False
    """Write Dask's own report of every task to RUN/report/dask.html; needs bokeh, the extra `[dashboard]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Everything `hqdata build` can be told."""

    source: SourceConfig = field(default_factory=SourceConfig)
    landmarks: LandmarksConfig = field(default_factory=LandmarksConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)
    upscale: UpscaleConfig = field(default_factory=UpscaleConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        """Refuse values that no build could use."""
        size = self.align.size
        if size < 16 or size & (size - 1):
            raise ConfigError(f"align.size must be a power of two of at least 16, got {size}")
        for name, value, least in (
            ("source.limit_megapixels", self.source.limit_megapixels, 0.001),
            ("landmarks.min_face_px", self.landmarks.min_face_px, 1),
            ("select.count", self.select.count, 1),
            ("pack.rows_per_shard", self.pack.rows_per_shard, 1),
            ("run.workers", self.run.workers, 0),
            ("run.chunk_photos", self.run.chunk_photos, 1),
            ("run.pilot_photos", self.run.pilot_photos, 0),
            ("run.quarantine_limit", self.run.quarantine_limit, 0),
        ):
            if not least <= value < math.inf:
                raise ConfigError(f"{name} must be at least {least} and finite, got {value}")
        if self.select.where:
            parse_condition(self.select.where)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the settings as nested plain values, as run.json stores them."""
        return dataclasses.asdict(self)


def load_config(
    files: Iterable[Path] = (), assignments: Iterable[str] = (), **sections: Mapping[str, Any]
) -> BuildConfig:
    """Merge defaults, TOML files, `section.key=value` assignments and explicit sections into one config.

    Args:
        files: TOML files, or names of shipped ones such as "celebahq"; later ones win.
        assignments: strings such as "select.count=1000"; the value is read as TOML, a bare word as a string.
        sections: values from the command line by section; None values are left out.

    Raises:
        ConfigError: for an unknown key (naming the nearest), a wrong type, a value out of range or a broken file.
    """
    return load_settings(BuildConfig, files=files, assignments=assignments, sections=sections, shipped=SHIPPED)


def config_from_dict(values: Mapping[str, Mapping[str, Any]]) -> BuildConfig:
    """Build a config from nested plain values; the inverse of `BuildConfig.to_dict`."""
    return settings_from_dict(BuildConfig, values)
