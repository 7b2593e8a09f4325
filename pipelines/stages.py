"""What runs on a worker: find and score the faces of some photos, pack a shard, draw thumbnails.

Plain functions of plain values. Models are loaded once a process, by name. Everything a task finds out is on disk
before it returns, so a task that runs twice, or whose result is lost, costs time and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from hqdata import restore, upscale
from hqdata.align import render_crop
from hqdata.landmarks import LandmarkProvider, open_provider
from hqdata.pixels import decode_photo
from hqdata.png import decode_png, encode_png, pixel_sha256
from hqdata.quality import spectral_parts
from hqdata.record import Face, Photo, PhotoRef, Refused
from hqdata.render import FacePlan, face_pixels, plan_face
from hqdata.shards import ShardFiles, ShardLayout, ShardRow, write_shard
from hqdata.sources import read_bytes
from hqdata.weights import Network
from pipelines.costs import Costs
from pipelines.job import Job, crop_name
from pipelines.ledger import PHOTO_KEY, LedgerReader, append_rows
from pipelines.overlap import Overlap, threads_beside
from pipelines.rows import ChunkResult, FoundFace, FoundPhoto, PackRow, PhotoTask, Score, ScoredFace, to_dict
from pipelines.stopping import BuildStopped
from pipelines.wanted_faces import finding_of, wanted_faces

__all__ = ["draw_photo_thumbnail", "draw_thumbnails", "pack_shard", "score_chunk"]

logger = logging.getLogger(__name__)

INTERNAL_ERROR = "internal error, "
"""How the reason begins when our own code failed on a photo that nothing refused."""
_OPENING = threading.Lock()
"""The first tasks of a worker's threads begin together, and one copy of the networks is enough."""
UNUSABLE = (Refused, MemoryError, ValueError, ArithmeticError, cv2.error)
"""What one picture can raise; anything else (a full disk, a missing module) is the environment's fault."""


@dataclass(frozen=True, slots=True)
class _Tools:
    """What is opened once a process."""

    provider: LandmarkProvider
    restorer: Network | None
    upscaler: Network | None


def score_chunk(tasks: Sequence[PhotoTask], job: Job, threshold: float) -> ChunkResult:
    """Find, render and score the faces of some photos; write ledger and cache; return the rows.

    Args:
        tasks: photos, with their faces where those are known.
        job: the build's settings.
        threshold: crops that score less are not cached, since they cannot be chosen.

    Raises:
        OSError: when the run folder cannot be written. A bad photo never raises; it becomes a row with a reason.
        BuildStopped: when weights or the detector cannot be loaded.
    """
    _tools(job)
    costs = Costs()
    found: list[FoundPhoto] = []
    scored: list[ScoredFace] = []
    ledger = LedgerReader(job.folder("found", job.find_key), key=PHOTO_KEY)
    with Overlap(threads_beside(job.device)) as overlap:
        read = functools.partial(_read, job=job, costs=costs)
        for task, image in zip(tasks, overlap.ahead(read, (task.ref for task in tasks)), strict=True):
            known = None if task.found_file is None else FoundPhoto.from_dict(ledger.row(task.found_file, task.ref.id))
            photo, finding = _find(task.ref, image, known, job, costs)
            if known is None:
                found.append(finding)
            if photo is not None:
                cache = functools.partial(overlap.behind, _cache_crop, job, threshold, costs)
                scored.extend(_score_faces(photo, finding, task.skip, job, costs, cache))
            elif known is not None:
                scored.extend(_refused_faces(known, finding, task.skip, job))
    with costs.step("write"):
        found_file = append_rows(job.folder("found", job.find_key), _lasting(found))
        scored_file = append_rows(job.folder("scored", job.score_key), _lasting(scored))
    failed = [row for row in (*found, *scored) if row.retry]
    return ChunkResult(
        found=tuple(finding_of(row, job.landmarks) for row in found),
        found_file=found_file,
        scored=tuple(map(Score.of, scored)),
        scored_file=scored_file,
        to_retry=tuple(dict.fromkeys(row.photo_id for row in failed)),
        last_error=f"{failed[-1].stage}: {failed[-1].reason}" if failed else "",
        cached=costs.cached,
        seconds=costs.seconds,
    )


def _lasting(rows: Iterable[FoundPhoto | ScoredFace]) -> list[dict[str, Any]]:
    return [to_dict(row) for row in rows if not row.retry]


def pack_shard(rows: Sequence[PackRow], job: Job, pack_key: str, shard: int, layout: ShardLayout) -> ShardFiles:
    """Write one shard, Parquet and every tensor level, from the cache or by rendering again.

    Raises:
        BuildStopped: when a photo no longer gives the pixels that were scored, naming it.
    """
    shard_rows = (_shard_row(row, job) for row in rows)
    files = write_shard(job.run_folder, shard, shard_rows, num_rows=len(rows), layout=layout)
    job.folder("packed", pack_key).write_json(f"{shard:05d}.json", files.to_json())
    return files


def draw_thumbnails(rows: Sequence[PackRow], job: Job, size: int) -> list[bytes | None]:
    """Return one small PNG a face, (size, size, 3); None where the photo no longer gives the crop."""
    return [_thumbnail(row, job, size) for row in rows]


def _thumbnail(row: PackRow, job: Job, size: int) -> bytes | None:
    try:
        crop = decode_png(_crop_png(row, job))
    except BuildStopped:
        return None  # the data set does not need this face's pixels, or packing would have stopped
    return encode_png(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))


def draw_photo_thumbnail(items: Sequence[tuple[str, PhotoRef]], job: Job, size: int) -> bytes | None:
    """Return a small PNG of one whole photo, fitted into (size, size, 3); None where it cannot be read."""
    ((_, ref),) = items
    try:
        image = decode_photo(read_bytes(job.root, ref), limit_pixels=job.limit_pixels)
    except UNUSABLE:
        return None
    scale = size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    canvas = np.full((size, size, 3), 255, dtype=np.uint8)
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return encode_png(canvas)


def _read(ref: PhotoRef, *, job: Job, costs: Costs) -> UInt8[np.ndarray, "h w 3"] | FoundPhoto:
    """Return the photo's pixels, or the row that says why there are none."""
    try:
        with costs.step("read"):
            data = read_bytes(job.root, ref)
    except Refused as error:
        return _refused_photo(ref, error, retry=True)
    try:
        with costs.step("read"):
            return decode_photo(data, limit_pixels=job.limit_pixels)
    except UNUSABLE as error:
        return _refused_photo(ref, error, retry=not isinstance(error, Refused))


def _find(
    ref: PhotoRef, image: UInt8[np.ndarray, "h w 3"] | FoundPhoto, known: FoundPhoto | None, job: Job, costs: Costs
) -> tuple[Photo | None, FoundPhoto]:
    """Return the photo with its faces, as `known` or found now; no photo where it is refused."""
    if isinstance(image, FoundPhoto):
        return None, image
    photo = Photo(ref=ref, image=image)
    if known is not None:
        return photo, known
    try:
        with costs.step("find"):
            faces = _faces(_tools(job).provider.find([photo])[0])
    except UNUSABLE as error:
        return None, _refused_photo(ref, error, retry=not isinstance(error, Refused))
    height, width = image.shape[:2]
    finding = FoundPhoto(
        photo_id=ref.id,
        version=ref.version,
        height=height,
        width=width,
        faces=tuple(FoundFace.of(face) for face in faces),
        stage="" if faces else "landmarks",
        reason="" if faces else "no face found",
    )
    return photo, finding


def _faces(outcome: list[Face] | Refused) -> list[Face]:
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def _refused_photo(ref: PhotoRef, error: BaseException, *, retry: bool) -> FoundPhoto:
    stage, reason = _why(error, "read")
    return FoundPhoto(photo_id=ref.id, version=ref.version, stage=stage, reason=reason, retry=retry)


def _score_faces(
    photo: Photo,
    finding: FoundPhoto,
    skip: Iterable[int],
    job: Job,
    costs: Costs,
    cache: Callable[[UInt8[np.ndarray, "s s 3"], ScoredFace], None],
) -> Iterator[ScoredFace]:
    wanted, _ = wanted_faces(finding, job.landmarks)
    for index in sorted(set(wanted) - set(skip)):
        face = finding.faces[index].to_face()
        try:
            crop, row = _render_and_score(photo, face, index, job, costs)
        except UNUSABLE as error:
            stage, reason = _why(error, "align")
            yield ScoredFace(
                photo_id=photo.ref.id,
                version=photo.ref.version,
                index=index,
                stage=stage,
                reason=reason,
                retry=not isinstance(error, Refused),
            )
            continue
        cache(crop, row)
        yield row


def _cache_crop(job: Job, threshold: float, costs: Costs, crop: UInt8[np.ndarray, "s s 3"], row: ScoredFace) -> None:
    if row.score is not None and row.score >= threshold:
        with costs.step("encode"):
            job.crops.write(crop_name(row.id), encode_png(crop))
        costs.count_cached()


def _refused_faces(known: FoundPhoto, refusal: FoundPhoto, skip: Iterable[int], job: Job) -> Iterator[ScoredFace]:
    """The faces, but those scored already, of a photo that could be read once and now cannot."""
    for index in sorted(set(wanted_faces(known, job.landmarks)[0]) - set(skip)):
        yield ScoredFace(
            photo_id=known.photo_id,
            version=known.version,
            index=index,
            stage=refusal.stage,
            reason=refusal.reason,
            retry=refusal.retry,
        )


def _render_and_score(
    photo: Photo, face: Face, index: int, job: Job, costs: Costs
) -> tuple[UInt8[np.ndarray, "s s 3"], ScoredFace]:
    crop, plan = _render(photo, face, job, costs)
    with costs.step("score"):
        parts = spectral_parts(crop)
    values = dataclasses.asdict(parts)
    row = ScoredFace(
        photo_id=photo.ref.id,
        version=photo.ref.version,
        index=index,
        score=values.pop("score"),
        parts=values,
        quad=tuple((float(x), float(y)) for x, y in plan.quad),
        zoom=float(plan.zoom),
        restored=plan.restored,
        upscaled=plan.scale > 1,
        padded=plan.crop.padded,
        pixel_sha256=pixel_sha256(crop),
    )
    return crop, row


def _render(photo: Photo, face: Face, job: Job, costs: Costs) -> tuple[UInt8[np.ndarray, "s s 3"], FacePlan]:
    tools = _tools(job)
    plan = plan_face(
        face.landmarks,
        (photo.image.shape[0], photo.image.shape[1]),
        size=job.size,
        mode=job.mode,
        restore_when=job.restore.when,
        upscale_when=job.upscale.when,
    )
    with costs.step("networks"), torch.inference_mode():
        pixels = face_pixels(photo.image, plan, restorer=tools.restorer, upscaler=tools.upscaler)
    with costs.step("align"):
        crop = render_crop(pixels, plan.crop)
    return crop, plan


def _shard_row(row: PackRow, job: Job) -> ShardRow:
    face = row.found.faces[row.scored.index]
    if row.scored.score is None:
        raise ValueError(f"{row.scored.id}: was refused and cannot be packed; select only scored faces")
    return ShardRow(
        id=row.scored.id,
        rank=row.rank,
        score=row.scored.score,
        parts=row.scored.parts,
        source=row.ref.path,
        face_index=row.scored.index,
        landmarks=np.array(face.landmarks),
        landmark_source=face.landmark_source,
        quad=np.array(row.scored.quad),
        source_size=(row.found.height, row.found.width),
        png=_crop_png(row, job),
        pixel_sha256=row.scored.pixel_sha256,
        attributes=row.ref.attributes,
    )


def _crop_png(row: PackRow, job: Job) -> bytes:
    """Return the crop's PNG from the cache, or render it again where the cache lacks it or is damaged."""
    name = crop_name(row.scored.id)
    cached = job.crops.read_if_there(name)
    if cached is not None:
        if _pixels_match(cached, row.scored.pixel_sha256):
            return cached
        logger.warning("%s/%s: damaged cache entry, rendered again", job.crops, name)
    try:
        image = decode_photo(read_bytes(job.root, row.ref), limit_pixels=job.limit_pixels)
    except Refused as error:
        raise BuildStopped(
            f"{row.ref.path}: was scored but cannot be read any more ({error.reason}); mend or remove the photo and run"
            " the same command to go on"
        ) from error
    face = row.found.faces[row.scored.index].to_face()
    crop, _ = _render(Photo(ref=row.ref, image=image), face, job, Costs())
    png = encode_png(crop)
    if not _pixels_match(png, row.scored.pixel_sha256):
        raise BuildStopped(
            f"{row.ref.path}: no longer gives the pixels that were scored, so the photo or a library has changed; run"
            " the same command again if it was the photo, else use the libraries' versions in run.json, or delete"
            f" {job.folder('scored', job.score_key)} to score every face anew"
        )
    if job.cache != "off":
        job.crops.write(name, png)
    return png


def _pixels_match(png: bytes, expected: str) -> bool:
    try:
        return pixel_sha256(decode_png(png)) == expected
    except ValueError:
        return False


def _tools(job: Job) -> _Tools:
    if torch.get_num_threads() != 1:  # torch counts for each thread that has computed before
        torch.set_num_threads(1)
    with _OPENING:
        return _opened_tools(job)


@functools.lru_cache(maxsize=1)
def _opened_tools(job: Job) -> _Tools:
    cv2.setNumThreads(1)
    try:
        return _open_tools(job)
    except (ValueError, OSError) as error:
        raise BuildStopped(f"a worker cannot load what it needs: {error}") from error


def _open_tools(job: Job) -> _Tools:
    mend, enlarge = job.restore, job.upscale
    restorer = None if mend.when == "never" else restore.load(mend.weights, job.device, precision=mend.precision)
    upscaler = (
        None if enlarge.when == "never" else upscale.load(enlarge.weights, job.device, precision=enlarge.precision)
    )
    for purpose, network, settings in (("restore", restorer, mend), ("upscale", upscaler, enlarge)):
        if network is not None and network.sha256 != dict(job.weights).get(purpose):
            raise ValueError(f"{settings.weights}: has changed since this build began; run the same command to go on")
    return _Tools(open_provider(job.provider, device=job.device), restorer, upscaler)


def _why(error: BaseException, stage: str) -> tuple[str, str]:
    if isinstance(error, Refused):
        return error.stage, error.reason
    return stage, f"{INTERNAL_ERROR}{type(error).__name__}: {error}".splitlines()[0][:300]
