"""The run folder: one build's home, described by run.json."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from hqdata.shards import read_manifest, remove_manifest
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source
from hqdata.storage import Folder, is_url, open_folder
from pipelines.config import BuildConfig
from pipelines.job import STAGE_VERSIONS, Job, photos_key, weights_in_use

__all__ = [
    "RUN_PATH",
    "begin_run",
    "describe_run",
    "is_finished",
    "previous_run",
    "require_apart",
    "require_usable",
    "settings_changed",
]

RUN_PATH = "run.json"
RUN_FORMAT = "progan-hq/run"
RUN_VERSION = 1
LIBRARIES = (
    "progan-hq",
    "torch",
    "numpy",
    "scipy",
    "opencv-python",
    "pillow",
    "pyarrow",
    "dask",
    "safetensors",
    "mtcnn",
)
FOREIGN_TO_RESULT = ("run",)
"""Sections of the config that change no byte of the result."""


def require_usable(run: Folder) -> None:
    """Refuse a folder that holds something else than a run.

    Raises:
        ConfigError: if it is a file, or neither empty nor a run folder.
    """
    if run.is_local and run.path.is_file():
        raise ConfigError(f"{run} is a file; give a folder for the run")
    if run.is_empty() or run.exists(RUN_PATH) or not (run / WORK_FOLDER).is_empty():
        return
    raise ConfigError(f"{run} is neither empty nor a run folder; give a new folder, nothing there was touched")


def require_apart(source: Source, run: Folder) -> None:
    """Refuse a run folder among the photos: the next build would take its pictures for photos.

    Raises:
        ConfigError: if one of the two folders lies in the other.
    """
    if is_url(source.root) == run.is_local or source.kind == "celeba":
        return
    root, folder = (_parts(open_folder(place)) for place in (source.root, run))
    if folder[: len(root)] == root or root[: len(folder)] == folder:
        raise ConfigError(
            f"{run}: the run folder and the source {source.root} lie in one another, so pictures of the run would count"
            " as photos; give a run folder beside the source"
        )


def _parts(folder: Folder) -> list[str]:
    return (str(folder.path.resolve()) if folder.is_local else folder.url).rstrip("/").split("/")


def describe_run(config: BuildConfig, job: Job, photos: Sequence[PhotoRef]) -> dict[str, Any]:
    """Return what run.json holds: everything that a reader needs to know how the data came about."""
    return {
        "format": RUN_FORMAT,
        "version": RUN_VERSION,
        "config": config.to_dict(),
        "resolved": {"source": job.root, "landmarks": job.provider, "device": job.device},
        "stage_versions": STAGE_VERSIONS,
        "keys": {"find": job.find_key, "score": job.score_key, "photos": photos_key(photos)},
        "weights_sha256": weights_in_use(config, job.provider),
        "versions": _versions(),
        "git_commit": _git_commit(),
    }


def previous_run(run: Folder) -> dict[str, Any] | None:
    """Return the description that an earlier build left, or None.

    Raises:
        ConfigError: if the file is damaged, or of a version that this package does not know.
    """
    data = run.read_if_there(RUN_PATH)
    if data is None:
        return None
    path = f"{run}/{RUN_PATH}"
    try:
        description = json.loads(data)
        known = (description["format"], description["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: damaged ({error!r}); remove it and run the same command again") from error
    if known != (RUN_FORMAT, RUN_VERSION):
        raise ConfigError(
            f"{path}: format and version must be {(RUN_FORMAT, RUN_VERSION)}, got {known}; give a new folder, or use"
            " the version of progan-hq that built this one"
        )
    return description


def is_finished(run: Folder, now: Mapping[str, Any]) -> bool:
    """Return whether the folder holds the whole result of the settings and photos that `now` describes.

    The files' sizes are compared with the manifest, not their bytes: see `hqdata.shards.verify_run`.
    """
    before = previous_run(run)
    if before is None or _at(before, ("keys",)) != now["keys"] or _config_changed(before, now):
        return False
    try:
        records = read_manifest(run).values()
    except (OSError, ValueError):
        return False
    sizes = run.sizes(record.path for record in records)
    return all(sizes[record.path] == record.bytes for record in records)


def begin_run(run: Folder, description: Mapping[str, Any]) -> None:
    """Mark the run as unfinished and write down its settings, before any output changes."""
    remove_manifest(run)
    run.write_json(RUN_PATH, description)


def settings_changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Return lines such as "align.size: 1024 -> 256" for every setting, stage and library version that differs."""
    if before is None:
        return []
    pairs = [(("stage_versions",), "stage"), (("weights_sha256",), "weights"), (("versions",), "version of")]
    libraries = [line for path, label in pairs for line in _differences(_at(before, path), _at(now, path), label)]
    return _config_changed(before, now) + libraries


def _config_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A setting that the earlier build did not know yet had its default."""
    defaults = BuildConfig().to_dict()
    sections = [name for name in now["config"] if name not in FOREIGN_TO_RESULT]
    pairs = [({**defaults[name], **_at(before, ("config", name))}, now["config"][name], name) for name in sections]
    return [line for old, new, name in pairs for line in _differences(old, new, name)]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], label: str) -> Iterator[str]:
    joint = " " if " " in label else "."
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            yield f"{label}{joint}{key}: {_shown(before.get(key))} -> {_shown(now.get(key))}"


def _shown(value: Any) -> str:
    return "''" if value == "" else str(value)


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for key in path:
        values = values.get(key, {})
    return values


def _versions() -> dict[str, str]:
    found = {name: _version(name) for name in LIBRARIES}
    return {"python": platform.python_version()} | {name: version for name, version in found.items() if version}


def _version(library: str) -> str | None:
    """Return a library's version; None where it is there under another name, such as opencv-python-headless."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from; None where it was installed.

    The repository must be the package's own: an installed package may lie inside somebody else's.
    """
    here = Path(__file__).resolve()
    top = _git_answer(here.parent, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != here.parents[1] or not _git_answer(here.parent, "ls-files", here.name):
        return None
    return _git_answer(here.parent, "rev-parse", "HEAD")


def _git_answer(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
