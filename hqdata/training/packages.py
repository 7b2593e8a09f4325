"""Getting the Debian packages whose photos the recipe uses; needs `apt-get` and `dpkg-deb`, but installs nothing."""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hqdata.training.recipe import PACKAGES

__all__ = ["fetch_packages"]

_LOGGER = logging.getLogger(__name__)


def fetch_packages(folder: Path) -> None:
    """Download and unpack into `folder` those of the recipe's packages (118 MB) that are not there yet.

    Args:
        folder: gets `usr/share`; created where missing.

    Raises:
        ValueError: when a package is missing and the system's tools are too, or fail. The message says what to do.
    """
    missing = [name for name in PACKAGES if not (folder / "usr/share/doc" / name / "copyright").exists()]
    if not missing:
        return
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ValueError(
                f"{tool} is not on this system, so {', '.join(missing)} cannot be fetched; download these packages of"
                f" Debian 12 from https://packages.debian.org/bookworm/, unpack each with `dpkg-deb -x FILE {folder}`"
                f" (or `ar x FILE` and `tar -xf data.tar.*`), and name that folder with --packages"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        Path(downloads).chmod(0o755)  # apt-get downloads as a user of its own
        _LOGGER.info("downloading %s", ", ".join(missing))
        _run(["apt-get", "download", *missing], Path(downloads), "run `apt-get update` once, on Debian 12 or Ubuntu")
        for file in sorted(Path(downloads).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(file), str(folder.absolute())], Path(downloads), "delete it and try again")


def _run(command: Sequence[str], folder: Path, remedy: str) -> None:
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
        raise ValueError(f"`{' '.join(command)}` failed: {''.join(said) or answer.returncode}; {remedy}")
