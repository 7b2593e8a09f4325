"""What one pass over a set keeps of its pictures, for all measures at once; a cache can take each part and give it."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from metrics.descriptors import PatchDescriptors, Role
from metrics.extraction import Consumer, NetworkRows
from metrics.features.interface import FeatureExtractor
from metrics.multiscale import Diversity, ms_ssim_diversity
from metrics.sources.batches import MixedBatch

__all__ = ["Gatherer", "PairGatherer", "PatchGatherer", "RowGatherer"]

PAIRS = 10_000
"""Karras et al. 2018 compare as many pairs of 20,000 pictures."""
PAIRS_A_PICTURE = 2
"""In smaller sets; more add little, since they share pictures."""
KEPT_BYTES = 2**30
PATCHED_IN_MEMORY = 7_000
"""Pictures whose patches are held in memory as they are, 2.1 GB at four levels; those of more are not cached."""

Arrays = dict[str, np.ndarray]


class Gatherer(Consumer, Protocol):
    """A consumer of one pass whose part can be kept in a cache; begins empty."""

    def identity(self) -> dict[str, object]:
        """Return all that decides its numbers besides the pictures, in JSON's types."""
        ...

    def arrays(self) -> Arrays | None:
        """Return everything kept, for a cache; None where it is too much to be held twice."""
        ...

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `arrays` was taken from."""
        ...

    def part_arrays(self) -> Arrays:
        """Return what another process's gatherer needs of this one, which saw a stretch of the pictures."""
        ...

    def add_part(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take in the `part_arrays` of the next stretch, as if its pictures had been added here."""
        ...


class RowGatherer:
    """Rows that a network makes of pictures, in the pictures' order: features, and logits where it has them."""

    def __init__(self, part: str, network: FeatureExtractor) -> None:
        self.part = part
        self._network = network
        self._rows = NetworkRows(part, network)

    def add(self, batch: MixedBatch) -> None:
        """Run the network on the next pictures."""
        self._rows.add(batch)

    def features(self) -> Float32[Tensor, "n d"]:
        """Return all rows, on the network's device."""
        return self._rows.features.tensor(self._network.device)

    def logits(self) -> Float32[Tensor, "n c"] | None:
        """Return all logits, on the network's device; None where it has no classifier."""
        return None if self._rows.logits is None else self._rows.logits.tensor(self._network.device)

    def identity(self) -> dict[str, object]:
        """Return the network, its weights and all that its protocol names."""
        network = self._network
        return {
            "network": network.name,
            "sha256": network.sha256,
            "protocol": network.protocol,
            "width": network.width,
        }

    def arrays(self) -> Arrays:
        """Return the features as they are, float32; a reference's logits are of no use to any measure."""
        return {"features": self._rows.features.rows()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `arrays` was taken from."""
        self._rows.features.update(arrays["features"], first_index=0)

    def part_arrays(self) -> Arrays:
        """Return features and logits, and the index of the first picture; none may be missing after it."""
        kept = self._rows
        arrays = {"first": kept.features.indices()[:1], "features": kept.features.rows()}
        return arrays if kept.logits is None else {**arrays, "logits": kept.logits.rows()}

    def add_part(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take in the rows of the next stretch."""
        self._rows.keep(arrays["features"], arrays.get("logits"), first_index=int(arrays["first"][0]))


class PatchGatherer:
    """Patch descriptors for the sliced Wasserstein distance.

    Those of a large set, or of one of unknown size, lie in files, or on CUDA in half precision, which moves the
    distance by up to 4e-5 of its value.
    """

    part = "patches"

    def __init__(
        self, role: Role, *, seed: int, expected: int | None, device: str, dtype: torch.dtype | None = None
    ) -> None:
        self._device = torch.device(device)
        self._large = expected is None or expected > PATCHED_IN_MEMORY
        on_host = self._device.type == "cpu"
        folder = tempfile.gettempdir() if self._large and on_host else None
        dtype = dtype or (torch.float16 if self._large and not on_host else torch.float32)
        self.descriptors = PatchDescriptors(role, seed=seed, folder=folder, dtype=dtype)

    def identity(self) -> dict[str, object]:
        """Return what decides the patches' places."""
        kept = self.descriptors
        return {
            "role": kept.role,
            "seed": kept.seed,
            "min_size": kept.min_size,
            "patches_per_image": kept.patches_per_image,
            "dtype": str(kept.dtype),
        }

    def add(self, batch: MixedBatch) -> None:
        """Cut the patches; all pictures must have one size."""
        self.descriptors.update(_single_size(batch), first_index=batch.first_index)

    def arrays(self) -> Arrays | None:
        """Return the descriptors' state: tensors as arrays, the few settings as JSON."""
        return None if self._large else self.part_arrays()

    def part_arrays(self) -> Arrays:
        """Return the descriptors' state, whatever its size."""
        state = self.descriptors.state_dict()
        patches = {f"patches_{level}": rows.cpu().numpy() for level, rows in enumerate(state.pop("patches"))}
        tensors = {name: state.pop(name).cpu().numpy() for name in ("indices", "sums")}
        return {**patches, **tensors, "settings": np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `arrays` was taken from."""
        self.descriptors = self._descriptors(arrays)

    def add_part(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take in the patches of the next stretch."""
        self.descriptors.merge(self._descriptors(arrays))

    def _descriptors(self, arrays: Mapping[str, np.ndarray]) -> PatchDescriptors:
        state = json.loads(arrays["settings"].tobytes())
        levels = sum(name.startswith("patches_") for name in arrays)
        tensors = {name: torch.from_numpy(values).to(self._device) for name, values in arrays.items()}
        state["patches"] = [tensors[f"patches_{level}"] for level in range(levels)]
        state |= {name: tensors[name] for name in ("indices", "sums")}
        return PatchDescriptors.from_state_dict(state)


class PairGatherer:
    """How alike a set's pictures are: MS-SSIM over random pairs of those kept, at most a gibibyte of them.

    Which are kept depends on the seed and their index alone. All are, of a set of up to 20,000 pictures of 128 px.
    """

    part = "similarities"

    def __init__(self, *, seed: int, device: str = "cpu", of: int | None = None) -> None:
        """Begin empty.

        Args:
            seed: decides with a picture's index whether it is kept, and with whom it is paired.
            device: where pictures go that come from another process.
            of: pictures in the whole set, where this one sees a stretch of it.
        """
        self._seed = seed
        self._device = device
        self._of = of
        self._kept: dict[int, Tensor] = {}
        self._ranks: dict[int, float] = {}
        self._found: Diversity | None = None

    def add(self, batch: MixedBatch) -> None:
        """Keep those of the next pictures that are among the lowest ranks; all must have one size."""
        images = _single_size(batch)
        for place, image in enumerate(images):
            index = batch.first_index + place
            self._ranks[index] = _rank(self._seed, index)
            self._kept[index] = image.clone()  # the batch may be the caller's own memory
        self._forget()

    def _forget(self) -> None:
        most = _most_kept(self._kept)
        for index in sorted(self._kept, key=self._ranks.__getitem__)[most:]:
            del self._kept[index], self._ranks[index]

    def diversity(self) -> Diversity:
        """Return the mean over pairs, and its error; the pictures are let go."""
        if self._found is None:
            pictures = torch.stack([self._kept[index] for index in sorted(self._kept)])
            pairs = min(PAIRS, PAIRS_A_PICTURE * len(pictures))
            self._found = ms_ssim_diversity(pictures, pairs=pairs, seed=self._seed)
            self._kept.clear()
        return self._found

    def identity(self) -> dict[str, object]:
        """Return what decides which pictures are paired."""
        return {"seed": self._seed, "pairs": PAIRS, "pairs_a_picture": PAIRS_A_PICTURE, "kept_bytes": KEPT_BYTES}

    def arrays(self) -> Arrays:
        """Return the result alone: it needs nothing of the other set."""
        found = self.diversity()
        return {"diversity": np.array([found.mean, found.standard_error, found.pairs])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `arrays` was taken from."""
        mean, error, pairs = arrays["diversity"].tolist()
        self._found = Diversity(mean=mean, standard_error=error, pairs=int(pairs))

    def part_arrays(self) -> Arrays:
        """Return those pictures that the whole set will keep, with their indices."""
        most = _most_kept(self._kept)
        limit = math.inf if self._of is None else _rank_limit(self._seed, self._of, most)
        indices = [index for index in sorted(self._kept) if self._ranks[index] <= limit]
        pictures = [self._kept[index].cpu().numpy() for index in indices]
        return {"indices": np.array(indices, np.int64), "pictures": np.array(pictures, np.uint8)}

    def add_part(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take in the pictures of the next stretch."""
        pictures = torch.from_numpy(arrays["pictures"]).to(self._device)
        for index, picture in zip(arrays["indices"].tolist(), pictures, strict=True):
            self._ranks[index], self._kept[index] = _rank(self._seed, index), picture
        if self._kept:
            self._forget()


def _most_kept(pictures: Mapping[int, Tensor]) -> int:
    """Return how many pictures of the size of these are kept."""
    return max(2, min(2 * PAIRS, KEPT_BYTES // next(iter(pictures.values())).numel()))


def _rank(seed: int, index: int) -> float:
    return float(np.random.default_rng((seed, index)).random())


@functools.lru_cache(maxsize=8)
def _rank_limit(seed: int, count: int, kept: int) -> float:
    """Return the highest rank among the `kept` lowest of `count` pictures."""
    return sorted(_rank(seed, index) for index in range(count))[min(kept, count) - 1]


def _single_size(batch: MixedBatch) -> Tensor:
    """Return the pictures of a batch, which must all have one size.

    Raises:
        ValueError: when they have not; the message says what to do.
    """
    first, *others = batch.groups
    if others:
        sizes = [f"{group.images.shape[2]} x {group.images.shape[3]}" for group in (first, *others)]
        raise ValueError(
            f"pictures must have one size for swd and ms_ssim, but there are {' and '.join(sizes[:2])}; resize with"
            " open_source(..., size=...), or leave these metrics out"
        )
    return first.images
