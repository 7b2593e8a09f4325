"""Mean and covariance of a set's features as a file, to measure against without its pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from metrics.evaluation_plan import opened_network
from metrics.extraction import NetworkRows, one_pass
from metrics.features import FeatureExtractor
from metrics.moments import Moments
from metrics.set_reading import Progress
from metrics.sources.opening import open_source
from metrics.statistics_files import SavedStatistics, save_statistics

__all__ = ["check_statistics", "write_statistics"]


def write_statistics(
    pictures: object,
    path: Path | str,
    *,
    extractor: str | FeatureExtractor = "inception-fid",
    protocol: str = "tf1",
    device: str = "auto",
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> int:
    """Write what `evaluate(reference=path)` needs for fid, and return the number of pictures.

    pytorch-fid and clean-fid read the file too; that it fits their protocol is for you to see to. It also names the
    network, weights, protocol and pictures, which `evaluate` compares with its own.

    Args:
        pictures: anything that `metrics.open_source` takes, at least two.
        path: ends in .npz.
        extractor: see `metrics.evaluate`, as for what follows.
        protocol: of inception-fid.
        device: as torch names it.
        batch_size: pictures at a time.
        progress: called after each batch.

    Raises:
        ValueError: for an unusable name of the file, before any work; else as `metrics.evaluate`.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"statistics files end in .npz, got {Path(path).name}; other libraries know them by it")
    network, source = opened_network(extractor, protocol, device), open_source(pictures)
    moments = Moments(network.width)
    report = None if progress is None else partial(progress, "statistics")
    rows = NetworkRows("features", network, on_features=[lambda features, first_index: moments.update(features)])
    one_pass(source, [rows], device=network.device, batch_size=batch_size, progress=report)
    save_statistics(
        path,
        mean=moments.mean,
        covariance=moments.covariance(ddof=network.ddof),
        count=moments.count,
        provenance={
            "extractor": network.name,
            "sha256": network.sha256,
            "protocol": network.protocol,
            "source": source.name,
            "fingerprint": source.fingerprint(),
        },
    )
    return moments.count


def check_statistics(statistics: SavedStatistics, network: FeatureExtractor, name: str) -> list[str]:
    """Return a warning when a file does not say how it was made.

    Raises:
        ValueError: when it says that it was made otherwise, or holds rows of another length.
    """
    if len(statistics.mean) != network.width:
        raise ValueError(
            f"{name}: has {len(statistics.mean)} columns, {network.name} gives {network.width}; use the network of the"
            " file"
        )
    ours = {"sha256": network.sha256, "protocol": network.protocol}
    for key, value in ours.items():
        theirs = statistics.provenance.get(key, value)
        if theirs != value:
            raise ValueError(
                f"{name}: was made with {key} {theirs!r}, now it is {value!r}; their distance would mean nothing, so"
                " make the file anew or choose what it was made with"
            )
    if set(ours) <= set(statistics.provenance):
        return []
    return [f"{name} does not say how it was made; the distance means something only if by {network.protocol}"]
