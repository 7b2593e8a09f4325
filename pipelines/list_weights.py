"""What `hqdata weights` prints: the networks that can be named, with what a user needs to choose and to cite one."""

from __future__ import annotations

from collections.abc import Iterator

from hqdata import restore, upscale
from hqdata.restore.apply import ARCHITECTURES as RESTORERS
from hqdata.weights import describe, shipped
from hqdata.weights.community import FAMILIES, realesrgan

__all__ = ["list_weights"]


def list_weights() -> Iterator[str]:
    """Yield lines: one block for each shipped network, then what else can be loaded."""
    for name in shipped():
        facts = describe(name)
        load = restore.load if facts["architecture"] in RESTORERS else upscale.load
        network = load(name)
        what = "restores" if network.scale == 1 else f"enlarges {network.scale} times"
        yield f"{name}: {what}, {facts['parameters']:,} parameters, reach {network.reach} pixels, {facts['licence']}"
        yield f"  {facts['architecture']}, sha256 {facts['sha256']}"
        yield f"  {facts['data']}"
    for name, model in realesrgan.MODELS.items():
        yield f"{name}: enlarges 4 times, BSD-3-Clause, {_state(name)}"
        yield f"  {model.title}, sha256 {model.sha256}"
    yield f"files (.pth, .pt, .safetensors): ours, and state dictionaries of {', '.join(FAMILIES)}"


def _state(name: str) -> str:
    try:
        realesrgan.installed_files(name)
    except ValueError as error:
        return str(error)
    return f"from the installed package {realesrgan.PACKAGE}"
