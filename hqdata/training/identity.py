"""What a run folder holds the training of, so that it is never gone on with as another."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqdata.atomic import write_json
from hqdata.training.checkpoint import STATE_FILE

__all__ = ["RUN_FILE", "check_identity"]

RUN_FILE = "run.json"
DISTRIBUTIONS = ("progan-hq", "torch", "numpy", "pillow", "scipy")
"""Whose versions can change the last bits of a run."""

_LOGGER = logging.getLogger(__name__)


def check_identity(run: Path, identity: Mapping[str, Any]) -> None:
    """Note what a new run is; refuse to go on with a run that was begun as another one.

    Other versions of the libraries are only warned of: the run goes on well, but not bit for bit.

    Args:
        run: folder of the run; created where missing.
        identity: JSON values by name, such as settings, seeds and checksums.

    Raises:
        ValueError: when a value differs, and the message names every one that does, or when the folder holds the
            state of something else.
    """
    path, versions = run / RUN_FILE, {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
    if not path.exists():
        if (run / STATE_FILE).exists():
            raise ValueError(f"{run} holds a saved state but no {RUN_FILE} that says of what; use another folder")
        write_json(path, {"identity": dict(identity), "versions": versions})
        return
    noted = json.loads(path.read_text(encoding="utf-8"))
    differences = _differences(noted["identity"], identity)
    if differences:
        raise ValueError(f"{run} was begun as another run: {'; '.join(differences)}; use another folder")
    for difference in _differences(noted["versions"], versions):
        _LOGGER.warning("%s: version of %s; the run goes on, but not bit for bit", run, difference)


def _differences(noted: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = sorted(noted.keys() | now.keys())
    return [f"{key} was {noted.get(key)}, now {now.get(key)}" for key in keys if noted.get(key) != now.get(key)]
