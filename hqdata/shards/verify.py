"""Check a finished run: every byte against the manifest, and the files against each other."""

from __future__ import annotations

from pathlib import Path

from hqdata.atomic import json_bytes
from hqdata.shards.agreement import check_agreement
from hqdata.shards.format import INDEX_PATH, MANIFEST_PATH, SELECTED_PATH, WORK_FOLDER, FileRecord, Problem
from hqdata.shards.hashing import sha256_of
from hqdata.shards.manifest import manifest_json, read_manifest

__all__ = ["Problem", "verify_run"]

REMEDY = "delete it and repeat the run's `hqdata build` command to write it again"
MANIFEST_REMEDY = f"delete {MANIFEST_PATH} and repeat the run's `hqdata build` command to write it again"
REQUIRED_PATHS = (INDEX_PATH, SELECTED_PATH)


def verify_run(run: Path | str, *, deep: bool = False) -> list[Problem]:
    """Return what is wrong with a finished run, sorted by path; an empty list means that nothing is.

    Reads every byte once, at the speed of the disk or of sha256. Files of the work folder are not looked at.

    Args:
        run: the run folder; it is only read.
        deep: also decode every PNG and compare its pixels with the tensors at every level: some 0.1 s for each
            1024x1024 picture.
    """
    run = Path(run)
    try:
        records = read_manifest(run)
    except (OSError, ValueError) as error:
        return [Problem(path=MANIFEST_PATH, what=str(error))]
    problems = [*_check_manifest(run, records), *_check_extra(run, records)]
    problems += [problem for record in records.values() for problem in _check_file(run, record)]
    sound = records.keys() - {problem.path for problem in problems}
    if sound.issuperset(REQUIRED_PATHS):
        problems += check_agreement(run, known=records.keys(), sound=sound, deep=deep)
    return sorted(problems)


def _check_manifest(run: Path, records: dict[str, FileRecord]) -> list[Problem]:
    """Report what a manifest of ours never has: other bytes for the same content, or a required file left out."""
    problems = [
        Problem(path=path, what=f"is not in the manifest, but no run is whole without it; {MANIFEST_REMEDY}")
        for path in REQUIRED_PATHS
        if path not in records
    ]
    if (run / MANIFEST_PATH).read_bytes() != json_bytes(manifest_json(records)):
        problems.append(Problem(path=MANIFEST_PATH, what=f"has been changed since it was written; {REMEDY}"))
    return problems


def _check_file(run: Path, record: FileRecord) -> list[Problem]:
    path = run / record.path
    if not path.is_file():
        return [Problem(path=record.path, what="is missing; repeat the run's `hqdata build` command to write it again")]
    num_bytes = path.stat().st_size
    if num_bytes != record.bytes:
        return [Problem(path=record.path, what=f"has {num_bytes} bytes but was written with {record.bytes}; {REMEDY}")]
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        return [Problem(path=record.path, what=f"cannot be read ({error}); check the disk and the file's permissions")]
    if sha256 != record.sha256:
        return [Problem(path=record.path, what=f"has sha256 {sha256} but was written with {record.sha256}; {REMEDY}")]
    return []


def _check_extra(run: Path, records: dict[str, FileRecord]) -> list[Problem]:
    found = (path.relative_to(run) for path in run.rglob("*") if not path.is_dir())
    paths = {path.as_posix() for path in found if path.parts[0] != WORK_FOLDER}
    what = "is not in the manifest; delete it, or move it out of the run folder"
    return [Problem(path=path, what=what) for path in paths - records.keys() - {MANIFEST_PATH, *REQUIRED_PATHS}]
