"""The run folder: one build's home, held by one driver at a time, described by run.json."""

from __future__ import annotations

import fcntl
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from hqdata.atomic import write_json
from hqdata.shards import remove_manifest
from hqdata.shards.format import WORK_FOLDER
from pipelines.config import BuildConfig, ConfigError
from pipelines.job import STAGE_VERSIONS, Job, weights_in_use

__all__ = ["RUN_PATH", "begin_run", "describe_run", "locked_run", "previous_run", "settings_changed"]

RUN_PATH = "run.json"
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


@contextmanager
def locked_run(run: Path) -> Iterator[None]:
    """Hold the run folder for this process; the lock ends with the process, however that ends.

    Raises:
        ConfigError: if the folder holds something else, or another process is building there.
    """
    if run.exists() and not run.is_dir():
        raise ConfigError(f"{run} is a file; give a folder for the run")
    if run.is_dir() and any(run.iterdir()) and not (run / WORK_FOLDER).is_dir() and not (run / RUN_PATH).exists():
        raise ConfigError(f"{run} is neither empty nor a run folder; give a new folder, nothing there was touched")
    (run / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    with (run / WORK_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another process is building {run}; wait for it or stop it first") from error
        yield


def describe_run(config: BuildConfig, job: Job) -> dict[str, Any]:
    """Return what run.json holds: everything that a reader needs to know how the data came about."""
    return {
        "format": "progan-hq/run",
        "version": 1,
        "config": config.to_dict(),
        "resolved": {"landmarks": job.provider, "device": job.device},
        "stage_versions": STAGE_VERSIONS,
        "keys": {"find": job.find_key, "score": job.score_key},
        "weights_sha256": weights_in_use(config, job.provider),
        "versions": _versions(),
        "git_commit": _git_commit(),
    }


def previous_run(run: Path) -> dict[str, Any] | None:
    """Return the description that an earlier build left, or None.

    Raises:
        ConfigError: if the file is damaged.
    """
    path = run / RUN_PATH
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path}: damaged ({error}); remove it and run the same command again") from error


def begin_run(run: Path, description: Mapping[str, Any]) -> None:
    """Mark the run as unfinished and write down its settings, before any output changes."""
    remove_manifest(run)
    write_json(run / RUN_PATH, description)


def settings_changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Return lines such as "align.size: 1024 -> 256" for every setting and stage version that differs."""
    if before is None:
        return []
    pairs = [(("config", section), section) for section in now["config"] if section not in FOREIGN_TO_RESULT]
    pairs += [(("stage_versions",), "stage"), (("weights_sha256",), "weights"), (("versions",), "version of")]
    return [line for path, label in pairs for line in _differences(_at(before, path), _at(now, path), label)]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], label: str) -> Iterator[str]:
    joint = " " if " " in label else "."
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            yield f"{label}{joint}{key}: {before.get(key)} -> {now.get(key)}"


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for key in path:
        values = values.get(key, {})
    return values


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES}


def _git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from; None where it was installed."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
