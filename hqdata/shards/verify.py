"""Check a finished run: every byte against the manifest, and the files against each other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hqdata.atomic import json_bytes
from hqdata.shards.agreement import check_agreement
from hqdata.shards.format import INDEX_PATH, MANIFEST_PATH, SELECTED_PATH, WORK_FOLDER, FileRecord, Problem
from hqdata.shards.manifest import manifest_json, read_manifest
from hqdata.shards.spreading import Spread, here
from hqdata.storage import Folder, open_folder

__all__ = ["ListedFile", "Problem", "check_files", "verify_run"]

REMEDY = "delete it and repeat the run's `hqdata build` command to write it again"
MANIFEST_REMEDY = f"delete {MANIFEST_PATH} and repeat the run's `hqdata build` command to write it again"
HASHED_AT_ONCE = 4
REQUIRED_PATHS = (INDEX_PATH, SELECTED_PATH)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the manifest, and what the listing of the folder says of it."""

    record: FileRecord
    num_bytes: int | None
    """None where it is missing."""


def verify_run(run: Folder | Path | str, *, deep: bool = False, spread: Spread = here) -> list[Problem]:
    """Return what is wrong with a finished run, sorted by path; an empty list means that nothing is.

    Reads every byte once, at the speed of the storage or of sha256, several files at a time and 8 MiB of each in
    memory. Files of the work folder are not looked at.

    Args:
        run: the run folder; it is only read.
        deep: also decode every PNG and compare its pixels with the tensors at every level: some 0.1 s for each
            1024x1024 picture. From an object store each shard is fetched once more, to scratch.
        spread: how files and shards, each of which is checked by itself, are shared out.
    """
    folder = open_folder(run)
    try:
        records = read_manifest(folder)
    except (OSError, ValueError) as error:
        return [Problem(path=MANIFEST_PATH, what=str(error))]
    sizes = {file.name: file.bytes for file in folder.walk(without={WORK_FOLDER}, temporary=True)}
    problems = [*_check_manifest(folder, records), *_check_extra(sizes, records)]
    problems += spread(check_files, folder, [ListedFile(record, sizes.get(record.path)) for record in records.values()])
    sound = records.keys() - {problem.path for problem in problems}
    if sound.issuperset(REQUIRED_PATHS):
        problems += check_agreement(folder, known=records.keys(), sound=sound, deep=deep, spread=spread)
    return sorted(problems)


def _check_manifest(folder: Folder, records: dict[str, FileRecord]) -> list[Problem]:
    """Report what a manifest of ours never has: other bytes for the same content, or a required file left out."""
    problems = [
        Problem(path=path, what=f"is not in the manifest, but no run is whole without it; {MANIFEST_REMEDY}")
        for path in REQUIRED_PATHS
        if path not in records
    ]
    if folder.read(MANIFEST_PATH) != json_bytes(manifest_json(records)):
        problems.append(Problem(path=MANIFEST_PATH, what=f"has been changed since it was written; {REMEDY}"))
    return problems


def check_files(folder: Folder, files: Sequence[ListedFile]) -> list[Problem]:
    """Return which files of a run have other bytes than the manifest says."""
    with ThreadPoolExecutor(HASHED_AT_ONCE) as pool:
        checks = pool.map(lambda file: _check_file(folder, file.record, file.num_bytes), files)
        return [problem for found in checks for problem in found]


def _check_file(folder: Folder, record: FileRecord, num_bytes: int | None) -> list[Problem]:
    if num_bytes is None:
        return [Problem(path=record.path, what="is missing; repeat the run's `hqdata build` command to write it again")]
    if num_bytes != record.bytes:
        return [Problem(path=record.path, what=f"has {num_bytes} bytes but was written with {record.bytes}; {REMEDY}")]
    try:
        sha256 = folder.sha256(record.path)
    except OSError as error:
        return [Problem(path=record.path, what=f"cannot be read ({error}); check the storage and its permissions")]
    if sha256 != record.sha256:
        return [Problem(path=record.path, what=f"has sha256 {sha256} but was written with {record.sha256}; {REMEDY}")]
    return []


def _check_extra(sizes: dict[str, int], records: dict[str, FileRecord]) -> list[Problem]:
    what = "is not in the manifest; delete it, or move it out of the run folder"
    return [Problem(path=path, what=what) for path in sizes.keys() - records.keys() - {MANIFEST_PATH, *REQUIRED_PATHS}]
