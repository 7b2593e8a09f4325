"""What is told about a set of pictures: formats, sizes, and all that was done to get 8-bit RGB from them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.sources.decoding import PictureFacts

__all__ = ["Summary", "contrast", "of_files", "same_content"]

TRAITS = {
    "grey": "are grey; their one channel was repeated",
    "palette": "have a palette of at most 256 colours",
    "alpha": "have transparency; it was laid on white",
    "16 bits": "have 16 bits a channel; the upper 8 were kept",
    "other colours": "are CMYK or YCbCr; they were converted without colour management",
    "profile": "have a colour profile other than sRGB; it was left aside",
    "turned": "were turned upright by their EXIF orientation",
    "several": "hold several pictures each; the first was taken",
}
"""How each trait of a file is told."""

LOSSY = ("JPEG",)
QUALITY_GAP = 5
"""Difference of two sets' median JPEG quality from which it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A set of pictures as it was found."""

    name: str
    count: int | None
    """None where it cannot be known before the end."""
    formats: Mapping[str, int] = field(default_factory=dict)
    """Files of each format; empty for pictures that come as pixels."""
    jpeg_quality: tuple[int, int, int] | None = None
    """Least, median and greatest estimated setting of the JPEG files."""
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Pictures of each (height, width), before any resizing; of those seen so far where they come as a stream."""
    notes: tuple[str, ...] = ()
    """Sentences for the user, each beginning with the source's name."""


def of_files(name: str, labels: Sequence[str], facts: Sequence[PictureFacts]) -> Summary:
    """Return the summary of examined files, which `labels` names in the same order."""
    quality = sorted(fact.quality for fact in facts if fact.quality is not None)
    return Summary(
        name=name,
        count=len(facts),
        formats=dict(Counter(fact.format for fact in facts).most_common()),
        jpeg_quality=(quality[0], statistics.median_low(quality), quality[-1]) if quality else None,
        sizes=dict(Counter(fact.size for fact in facts).most_common()),
        notes=(*_trait_notes(name, labels, facts), *_format_notes(name, facts)),
    )


def same_content(name: str, labels: Sequence[str], digests: Sequence[bytes]) -> list[str]:
    """Return a note about pictures that are there more than once, byte for byte."""
    first: dict[bytes, int] = {}
    repeated = [(first[digest], i) for i, digest in enumerate(digests) if first.setdefault(digest, i) != i]
    if not repeated:
        return []
    one, other = (labels[i] for i in repeated[0])
    return [
        f"{name}: {len(repeated)} of {len(digests)} pictures are exact copies of others (first {one} and {other});"
        " distances between sets count them as often as they are there"
    ]


def contrast(reference: Summary, generated: Summary) -> list[str]:
    """Return notes about differences of storage that a distance between the two sets would measure too."""
    told = []
    if abs(_lossy_share(reference) - _lossy_share(generated)) > 0.01:
        told.append(
            f"reference is {_formats(reference)}, generated is {_formats(generated)}: compression changes most"
            " distances, so store both sets in one format, without loss if possible"
        )
    mine, other = reference.jpeg_quality, generated.jpeg_quality
    if mine and other and abs(mine[1] - other[1]) >= QUALITY_GAP:
        told.append(
            f"JPEG quality is {mine[1]} in the reference and {other[1]} in the generated set (medians, estimated): the"
            " difference is part of every distance"
        )
    if reference.sizes and generated.sizes and set(reference.sizes) != set(generated.sizes):
        told.append(
            f"reference has pictures of {_sizes(reference)}, generated of {_sizes(generated)}: resampling leaves"
            " traces that distances measure; prepare both sets alike"
        )
    return told


def _trait_notes(name: str, labels: Sequence[str], facts: Sequence[PictureFacts]) -> list[str]:
    told = []
    for trait, sentence in TRAITS.items():
        held = [i for i, fact in enumerate(facts) if trait in fact.traits]
        if held:
            told.append(f"{name}: {len(held)} of {len(facts)} pictures {sentence} (first {labels[held[0]]})")
    return told


def _format_notes(name: str, facts: Sequence[PictureFacts]) -> list[str]:
    counts = Counter(fact.format for fact in facts)
    lossy = sum(counts[kind] for kind in LOSSY)
    if not 0 < lossy < len(facts):
        return []
    return [f"{name}: {lossy} of {len(facts)} pictures are JPEG and the others are not"]


def _lossy_share(summary: Summary) -> float:
    """Return which share of the files is JPEG; pixels from memory are taken for lossless."""
    return sum(summary.formats.get(kind, 0) for kind in LOSSY) / max(1, sum(summary.formats.values()))


def _formats(summary: Summary) -> str:
    return " and ".join(f"{count} {kind}" for kind, count in summary.formats.items()) or "pixels from memory"


def _sizes(summary: Summary) -> str:
    named = [f"{height} x {width}" for height, width in list(summary.sizes)[:3]]
    return ", ".join(named) + (f" and {len(summary.sizes) - 3} other sizes" if len(summary.sizes) > 3 else "")
