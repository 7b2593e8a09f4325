"""What a run folder holds the training of, so that it is never gone on with as another."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hqdata.atomic import write_json
from hqdata.training.checkpoint import STATE_FILE

__all__ = ["RUN_FILE", "check_identity"]

RUN_FILE = "run.json"
DISTRIBUTIONS = ("progan-hq", "torch", "numpy", "pillow", "scipy")
"""Whose versions can change the last bits of a run."""

_LOGGER = logging.getLogger(__name__)


def check_identity(
    run: Path,
    identity: Mapping[str, Any],
    *,
    saved: str = STATE_FILE,
    renewed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """Note what a new run is; refuse to go on with a run that was begun as another one.

    Other versions of the libraries are only warned of: the run goes on well, but not bit for bit.

    Args:
        run: folder of the run; created where missing.
        identity: JSON values by name, such as settings, seeds and checksums; they may be nested.
        saved: file or folder in which such a run keeps its state.
        renewed: from the identity that an earlier version noted to what it is called today, where settings were added.

    Raises:
        ValueError: when a value differs, and the message names every one that does, when the folder holds the
            state of something else, or when its `RUN_FILE` is damaged.
    """
    path, versions = run / RUN_FILE, {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
    if not path.exists():
        if (run / saved).exists():
            raise ValueError(f"{run} holds a saved state but no {RUN_FILE} that says of what; use another folder")
        write_json(path, {"identity": dict(identity), "versions": versions})
        return
    noted_identity, noted_versions = _noted(path)
    differences = _differences(renewed(noted_identity), identity)
    if differences:
        raise ValueError(
            f"{run} was begun as another run: {'; '.join(differences)}; give it these again, or use another folder"
        )
    for difference in _differences(noted_versions, versions):
        _LOGGER.warning("%s: version of %s; the run goes on, but not bit for bit", run, difference)


def _noted(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the identity and the versions that a run was begun with."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return dict(noted["identity"]), dict(noted["versions"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: does not say what the run is ({error}); put it back, or use another folder"
        ) from error


def _differences(noted: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> list[str]:
    """Return what differs, in words; of nested values only those that do, by names such as config.training.seed."""
    found = []
    for key in sorted(noted.keys() | now.keys()):
        was, is_now = noted.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            found += _differences(was, is_now, f"{within}{key}.")
        elif was != is_now:
            found.append(f"{within}{key} was {was}, now {is_now}")
    return found
