"""The passes of `metrics.evaluate` on a cluster: each set cut into stretches, whose parts are put together in order.

Parts lie in a folder that all machines reach until the report is there, so a command that was interrupted goes on from
them. Their names come of the pictures' content, the networks, the settings and the code, so none can pass for another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from gan.checkpoint import generator_file
from gan.drawn_pictures import drawing
from hqdata.storage import Folder, scratch_folder
from metrics.extraction import Pass, usual_batch_size
from metrics.gathering import Gatherer
from metrics.parts import DamagedPart, add_part, load_part
from metrics.sources import ImageSource
from pipelines.cluster_report import Room
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import Failed, map_bounded
from pipelines.fitness import ROOMS, Fitness, fitness_for
from pipelines.needs import needs_without_networks
from pipelines.preflight import examine, examine_devices
from pipelines.score_parts import NetworkWords, PartJob, SetWords, Stretch, gather_stretches, open_set
from pipelines.stopping import BuildStopped

__all__ = ["PART_PICTURES", "ClusterPasses"]

logger = logging.getLogger(__name__)

PART_PICTURES = 256
"""Of one task: half a minute of Inception on a core; at 1024 px its patches take 130 MB."""
PARTS = "parts"
GENERATORS = "generators"
MEASURERS = ("gan", "metrics")
"""Our packages that decide a part's numbers."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A connected cluster that was found fit."""

    client: Client
    device: Literal["cpu", "cuda"]
    expected: Fitness


class ClusterPasses:
    """Reads sets and runs networks over them on a cluster; use as a context manager.

    The cluster is not opened before the first pass, when everything else has been found in order. At the end of the
    block the parts are deleted, but for an exception: the same command then goes on.

    Args:
        choice: of the cluster.
        work: folder for the parts, which every worker reaches.
        network: of fid, kid, is and prdc, as `evaluate` opens it.
        device: "auto" for what all workers have, "cpu" or "cuda".
        part_pictures: pictures a task; rounded up to whole batches.
    """

    def __init__(
        self,
        choice: ClusterChoice,
        work: Folder,
        *,
        network: NetworkWords,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        part_pictures: int = PART_PICTURES,
    ) -> None:
        self._choice = choice
        self._work = work
        self._network = network
        self._wanted_device: Literal["auto", "cpu", "cuda"] = device
        self._part_pictures = part_pictures
        self._command = secrets.token_hex(8)
        self._words: dict[ImageSource, SetWords] = {}
        self._used: list[str] = []
        self._stack = ExitStack()
        self._opened: _Cluster | None = None

    def __enter__(self) -> ClusterPasses:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self._stack.close()
        if kind is None:
            self._work.delete_many(self._used)

    @property
    def device(self) -> str:
        """What the workers compute on."""
        return self._cluster().device

    def open_stored(self, path: str, *, size: int | None, limit: int | None, seed: int) -> ImageSource:
        """Return stored pictures, which the workers will find by the same path.

        Raises:
            FileNotFoundError, ValueError: as `metrics.open_source`.
        """
        said = SetWords(path=path, is_generator=False, name=path, size=size, limit=limit, seed=seed)
        source = open_set(replace(said, name=""), None)
        whole = str(Path(path).expanduser().absolute())
        self._words[source] = replace(said, path=whole, name=source.name)
        return source

    def open_generator(self, path: Path, *, size: int | None, limit: int, seed: int) -> ImageSource:
        """Return the pictures of a generator, of which the workers get a copy: a training may go on meanwhile.

        Raises:
            CheckpointError: when there is none, or it is damaged.
        """
        file = generator_file(path)
        data = file.read_bytes()
        copy = f"{GENERATORS}/{hashlib.sha256(data).hexdigest()}.safetensors"
        words = SetWords(path=copy, is_generator=True, name=str(path), size=size, limit=limit, seed=seed)
        source = open_set(words, drawing(file, device="cpu"))
        self._words[source] = words
        self._work.write(copy, data)
        self._used.append(copy)
        return source

    def one_pass(
        self,
        source: ImageSource,
        gatherers: Sequence[Gatherer],
        *,
        batch_size: int | str,
        progress: Callable[[int, int | None], None] | None,
    ) -> Pass:
        """Let the workers look at every picture, and the gatherers take in what they found, in order.

        Raises:
            ValueError: for pictures that cannot be measured.
            BuildStopped: if the cluster is not fit, or a part cannot be made.
        """
        size = usual_batch_size(self.device) if isinstance(batch_size, str) else batch_size
        start = time.monotonic()
        job = self._job(source, gatherers, size)
        stretches = self._cut(source, job)
        self._make(source, stretches, job, progress)
        made = time.monotonic()
        for stretch in stretches:
            self._take(source, gatherers, stretch, job)
        seconds = {"workers": made - start, "merging": time.monotonic() - made}
        return Pass(count=len(source), batch_size=size, seconds=seconds)

    def _job(self, source: ImageSource, gatherers: Sequence[Gatherer], batch_size: int) -> PartJob:
        return PartJob(
            command=self._command,
            work=self._work.url,
            pictures=self._words[source],
            count=len(source),
            identities=tuple(
                (gatherer.part, json.dumps(gatherer.identity(), sort_keys=True)) for gatherer in gatherers
            ),
            network=self._network,
            batch_size=batch_size,
            device=self.device,
        )

    def _cut(self, source: ImageSource, job: PartJob) -> list[Stretch]:
        """Return the stretches, which begin with whole batches however many workers there are."""
        length = -(-self._part_pictures // job.batch_size) * job.batch_size
        stretches = []
        for start in range(0, job.count, length):
            stop = min(start + length, job.count)
            content = source.stretch(start, stop).fingerprint() or ""
            stretches.append(
                Stretch(start=start, stop=stop, content=content, file=self._file(job, start, stop, content))
            )
        return stretches

    def _file(self, job: PartJob, start: int, stop: int, content: str) -> str:
        expected, words = self._cluster().expected, job.pictures
        pictures = content or [words.path, words.size, words.limit, words.seed]
        rooms = [digest for room, digest in expected.rooms if room in MEASURERS]
        decides = [expected.versions, rooms, job.identities, job.batch_size, job.device, job.count]
        key = hashlib.sha256(json.dumps([decides, pictures, start, stop]).encode()).hexdigest()
        return f"{PARTS}/{key[:40]}.npz"

    def _make(
        self,
        source: ImageSource,
        stretches: Sequence[Stretch],
        job: PartJob,
        progress: Callable[[int, int | None], None] | None,
    ) -> None:
        """Return when every part is there."""
        sizes = self._work.sizes([stretch.file for stretch in stretches])
        self._used += sizes
        missing = [stretch for stretch in stretches if sizes[stretch.file] is None]
        done = job.count - sum(stretch.stop - stretch.start for stretch in missing)
        if done:
            logger.info("%s: %d of %d pictures were looked at before", source.name, done, job.count)
        cluster, chunks = self._cluster(), ([stretch] for stretch in missing)
        outcomes = map_bounded(
            cluster.client, gather_stretches, chunks, arguments=lambda: (job,), expected=cluster.expected
        )
        with closing(outcomes):  # pyright: ignore[reportArgumentType]
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    first, last = outcome.item.start, outcome.item.stop - 1
                    raise BuildStopped(
                        f"{source.name}: pictures {first} to {last} cannot be measured: {outcome.reason}"
                    )
                if outcome.result:
                    raise ValueError(outcome.result)
                done += sum(stretch.stop - stretch.start for stretch in outcome.items)
                if progress:
                    progress(done, job.count)

    def _take(self, source: ImageSource, gatherers: Sequence[Gatherer], stretch: Stretch, job: PartJob) -> None:
        """Take in one part; a damaged one is made anew, once."""
        try:
            arrays = self._load(stretch)
        except DamagedPart as error:
            logger.warning("%s; it is made anew", error)
            self._work.delete(stretch.file)
            self._make(source, [stretch], job, None)
            arrays = self._load(stretch)
        add_part(source, gatherers, arrays)

    def _load(self, stretch: Stretch) -> dict[str, Any]:
        with self._work.reading(stretch.file) as path:
            return load_part(path)

    def _cluster(self) -> _Cluster:
        """Return the cluster, opened and examined at the first call.

        Raises:
            ConfigError: if the choice cannot be carried out.
            ClusterError: if no cluster comes of it.
            BuildStopped: if a machine is not fit, naming it.
        """
        if self._opened is None:
            client = self._stack.enter_context(open_cluster(self._choice, scratch=scratch_folder() / "hqdata-dask"))
            device = examine_devices(client).choose(self._wanted_device)
            report = examine(client, fitness_for(needs_without_networks(device), ROOMS), Room(run=self._work.url))
            report.stop_if_unfit()
            for warning in report.warnings:
                logger.warning("%s", warning)
            self._opened = _Cluster(client, device, report.expected)
        return self._opened
