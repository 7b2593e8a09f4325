"""Sliced Wasserstein distance and pyramids beside numpy and scipy doing what the definition says."""

from collections.abc import Iterator

import numpy as np
from metric_sections.measure import Row, compare
from oracles import sliced as oracle
from skimage import data

from metrics.descriptors import PatchDescriptors
from metrics.patch_groups import patch_distances_without
from metrics.pyramids import laplacian_pyramid
from metrics.sliced import patch_distance, swd, unit_directions

REFERENCE = "numpy and scipy"


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the pyramid, the distance both ways, and what an interval costs beside the distance itself."""
    count, turns = (50, 1) if quick else (1000, 3)
    reference, generated = crops(count, 128, 0), crops(count, 128, 1)
    yield _pyramid(reference[:200], turns)
    yield _distance(reference, generated, turns)
    yield compare(
        f"SWD, {count} + {count} pictures of 128 px, exact",
        ours=lambda: swd(reference=reference, generated=generated, method="exact"),
        theirs=None,
        turns=1,
    )
    yield _groups(reference, generated, turns)


def crops(count: int, side: int, seed: int) -> np.ndarray:
    """Return uint8 (n, 3, side, side) cut at random from photographs."""
    rng = np.random.default_rng(seed)
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    cut = np.empty((count, 3, side, side), dtype=np.uint8)
    for image in cut:
        photo = photos[rng.integers(len(photos))]
        top, left = rng.integers(photo.shape[0] - side + 1), rng.integers(photo.shape[1] - side + 1)
        image[:] = photo[top : top + side, left : left + side].transpose(2, 0, 1)
    return cut


def written_out(reference: np.ndarray, generated: np.ndarray) -> list[float]:
    """Return the distance of each level as the definition says, with patches and directions of its own."""
    rng = np.random.default_rng(0)
    found = []
    for pair in zip(oracle.pyramid(reference), oracle.pyramid(generated), strict=True):
        places = pair[0].shape[2] - 6
        corners = [rng.integers(0, places, (2, len(level), 128)) for level in pair]
        ready = [oracle.normalised(oracle.patches(level, *drawn)) for level, drawn in zip(pair, corners, strict=True)]
        repeats = [oracle.sliced(*ready, unit_directions(128, 147, rng).numpy()) for _ in range(4)]
        found.append(1000 * float(np.mean(repeats)))
    return found


def _pyramid(images: np.ndarray, turns: int) -> Row:
    pairs = zip(laplacian_pyramid(images), oracle.pyramid(images), strict=True)
    greatest = max(float(np.abs(ours.numpy() - theirs).max()) for ours, theirs in pairs)
    return compare(
        f"Laplacian pyramid, {len(images)} pictures of 128 px",
        ours=lambda: laplacian_pyramid(images),
        theirs=lambda: oracle.pyramid(images),
        whose="scipy.ndimage",
        turns=turns,
        note=f"{greatest:.0e} grey levels apart",
    )


def _distance(reference: np.ndarray, generated: np.ndarray, turns: int) -> Row:
    exact = swd(reference=reference, generated=generated, method="exact").levels
    found = swd(reference=reference, generated=generated).levels
    gap = max(abs(found[side] / exact[side] - 1) for side in exact)
    return compare(
        f"SWD, {len(reference)} + {len(generated)} pictures of 128 px",
        ours=lambda: swd(reference=reference, generated=generated),
        theirs=lambda: written_out(reference, generated),
        whose=REFERENCE,
        turns=turns,
        note=f"{gap:.0e} from sorting, relative",
    )


def _groups(reference: np.ndarray, generated: np.ndarray, turns: int) -> Row:
    first, second = PatchDescriptors("reference"), PatchDescriptors("generated")
    first.update(reference)
    second.update(generated)
    return compare(
        f"SWD without each of 2 x 20 groups, {len(reference)} + {len(generated)}",
        ours=lambda: patch_distances_without(reference=first, generated=second),
        theirs=lambda: patch_distance(reference=first, generated=second),
        whose="the distance itself",
        turns=turns,
        note="all that a jackknife interval needs",
    )
