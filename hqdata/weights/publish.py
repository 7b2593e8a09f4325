"""Put trained weights beside the package: `python -m hqdata.weights.publish FILE FACTS.json`.

FACTS holds what only people and benchmarks know: licence, origin, data, training, scores. The rest (checksum, size,
architecture, reach) is taken from the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors

from hqdata.atomic import write_bytes, write_json
from hqdata.restore.apply import ARCHITECTURES as RESTORERS
from hqdata.upscale.apply import ARCHITECTURES as UPSCALERS
from hqdata.weights.registry import FOLDER, SUFFIX, load_network, read_header

__all__ = ["NEEDED_FACTS", "publish"]

BUILDERS = {**RESTORERS, **UPSCALERS}
NEEDED_FACTS = ("licence", "origin", "data", "training", "scores")


def publish(file: Path, facts: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Copy weights to `folder` under their own name, with the JSON that `load_network` checks; return the copy's path.

    Raises:
        ValueError: when a needed fact is missing, or the file is not one of ours.
    """
    missing = [key for key in NEEDED_FACTS if key not in facts]
    if missing:
        raise ValueError(f"facts lack {', '.join(missing)}; weights are not published without them")
    data = file.read_bytes()
    header = read_header(file, data)
    network = load_network(file, builders=BUILDERS)
    parameters = sum(value.numel() for value in parse_tensors(data).values())
    computed = {
        "sha256": network.sha256,
        "size_bytes": len(data),
        "parameters": parameters,
        "reach": network.reach,
        "scale": network.scale,
    }
    copy = folder / f"{header['name']}{SUFFIX}"
    write_bytes(copy, data)
    write_json(copy.with_suffix(".json"), {**facts, **header, **computed})
    return copy


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="weights that a training run wrote")
    parser.add_argument("facts", type=Path, help="JSON with " + ", ".join(NEEDED_FACTS))
    given = parser.parse_args()
    publish(given.file, json.loads(given.facts.read_text(encoding="utf-8")))


if __name__ == "__main__":
    _main()
