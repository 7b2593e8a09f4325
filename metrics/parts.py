"""A pass over a set cut into stretches, which any number of processes make, put together as if it had been one.

Stretches must begin at multiples of the batch size: each batch then holds the same pictures as in one pass, and the
results have the same bits. They may be made in any order, and are put together in that of the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metrics.extraction import one_pass
from metrics.features.interface import FeatureExtractor
from metrics.gathering import Arrays, Gatherer, PairGatherer, PatchGatherer, RowGatherer
from metrics.sources.source import ImageSource, Noticed
from metrics.whole_files import DAMAGED

__all__ = ["DamagedPart", "Identity", "OtherNetwork", "add_part", "gather_part", "load_part", "save_part"]

Identity = dict[str, Any]
"""What `Gatherer.identity` returns: all that decides its numbers besides the pictures."""
NOTICED = "noticed"


class DamagedPart(ValueError):
    """A file holds no whole part; it is to be made anew."""


class OtherNetwork(ValueError):
    """A network here is not the one that is asked for."""


def gather_part(
    stretch: ImageSource,
    identities: Mapping[str, Identity],
    networks: Mapping[str, FeatureExtractor],
    *,
    count: int,
    batch_size: int,
    device: str,
) -> Arrays:
    """Return what gatherers like some others keep of a stretch of a set.

    Args:
        stretch: of the set's source; see `ImageSource.stretch`.
        identities: of the gatherers, by their part.
        networks: for those of them that run one, by their part.
        count: pictures of the whole set.
        batch_size: pictures at a time.
        device: where everything is computed.

    Raises:
        OtherNetwork: when a network is another one than the identity says.
        ValueError: for pictures that cannot be measured.
    """
    gatherers = [
        _gatherer(part, identity, networks, count=count, device=device) for part, identity in identities.items()
    ]
    done = one_pass(stretch, gatherers, device=device, batch_size=batch_size)
    if done.count != len(stretch):
        raise ValueError(f"{stretch.name}: pictures are missing; only a set whose pictures can all be read is cut")
    noticed = json.dumps(stretch.noticed().to_json()).encode()
    arrays = {NOTICED: np.frombuffer(noticed, dtype=np.uint8)}
    for gatherer in gatherers:
        arrays |= {f"{gatherer.part}.{name}": values for name, values in gatherer.part_arrays().items()}
    return arrays


def add_part(source: ImageSource, gatherers: Sequence[Gatherer], arrays: Mapping[str, np.ndarray]) -> None:
    """Take the next stretch of a source into the source and the gatherers, the first one first."""
    source.notice(Noticed.from_json(json.loads(arrays[NOTICED].tobytes())))
    for gatherer in gatherers:
        start = f"{gatherer.part}."
        gatherer.add_part({name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)})


def save_part(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a part as .npz, whatever the path is called."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load_part(path: Path) -> Arrays:
    """Return what `save_part` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        DamagedPart: when it is truncated or altered.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            json.loads(arrays[NOTICED].tobytes())
            return arrays
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise DamagedPart(f"{path}: is no whole part of a set ({error})") from error


def _gatherer(
    part: str, identity: Identity, networks: Mapping[str, FeatureExtractor], *, count: int, device: str
) -> Gatherer:
    """Return an empty gatherer of this identity for a stretch."""
    if part == PatchGatherer.part:
        dtype = getattr(torch, identity["dtype"].removeprefix("torch."))
        return PatchGatherer(identity["role"], seed=identity["seed"], expected=0, device=device, dtype=dtype)
    if part == PairGatherer.part:
        return PairGatherer(seed=identity["seed"], of=count)
    gatherer = RowGatherer(part, networks[part])
    if gatherer.identity() != identity:
        raise OtherNetwork(f"{networks[part].name} is {gatherer.identity()} here, but {identity} is asked for")
    return gatherer
