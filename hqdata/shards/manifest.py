"""RUN/manifest.json: size and sha256 of every output file, written last; a run without it is not finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hqdata.atomic import TEMPORARY_SUFFIX, write_json
from hqdata.shards.format import MANIFEST_FORMAT, MANIFEST_PATH, VERSION, WORK_FOLDER, FileRecord
from hqdata.shards.hashing import sha256_of

__all__ = ["manifest_json", "output_paths", "read_manifest", "remove_manifest", "write_manifest"]


def write_manifest(run: Path, known: Iterable[FileRecord] = ()) -> Path:
    """Write the manifest over every output file now in the run folder; return its path.

    Args:
        run: the run folder, in which nothing is being written any more.
        known: records of files that were hashed while they were written, so that they are not read again; the other
            files are.

    Raises:
        ValueError: if a known file is missing or has another size than its record says; it names the file.
    """
    records = {record.path: record for record in known}
    paths = output_paths(run)
    missing = sorted(records.keys() - set(paths))
    if missing:
        raise ValueError(f"{missing[0]}: was written but is no longer in {run}; build it again")
    write_json(run / MANIFEST_PATH, manifest_json({path: _record(run, path, records.get(path)) for path in paths}))
    return run / MANIFEST_PATH


def manifest_json(records: Mapping[str, FileRecord]) -> dict[str, Any]:
    """Return the manifest's content."""
    files = {path: {"bytes": record.bytes, "sha256": record.sha256} for path, record in records.items()}
    return {"format": MANIFEST_FORMAT, "version": VERSION, "files": files}


def remove_manifest(run: Path) -> None:
    """Declare the run unfinished, before any of its outputs changes; nothing happens where there is no manifest."""
    (run / MANIFEST_PATH).unlink(missing_ok=True)


def read_manifest(run: Path) -> dict[str, FileRecord]:
    """Return the record of every output file by its path.

    Raises:
        FileNotFoundError: if there is none, so that the run is not finished.
        ValueError: if it is damaged or of a version that this reader does not know.
    """
    path = run / MANIFEST_PATH
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: missing, so the run is not finished; repeat the same `hqdata build` command to finish it"
        )
    text = path.read_bytes()
    try:
        manifest = json.loads(text)
        known = (manifest["format"], manifest["version"])
        files = {name: FileRecord(path=name, **entry) for name, entry in manifest["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); repeat the same `hqdata build` command") from error
    if known != (MANIFEST_FORMAT, VERSION):
        raise ValueError(f"{path}: format and version must be {(MANIFEST_FORMAT, VERSION)}, got {known}")
    return files


def output_paths(run: Path) -> list[str]:
    """Return the paths of all output files in the run folder, sorted: all but its work folder and the manifest.

    Temporary files, which a killed process may leave behind, are not outputs.
    """
    found = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    outputs = (path for path in found if path.parts[0] != WORK_FOLDER and not _is_temporary(path))
    return sorted({path.as_posix() for path in outputs} - {MANIFEST_PATH})


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)


def _record(run: Path, path: str, record: FileRecord | None) -> FileRecord:
    num_bytes = (run / path).stat().st_size
    if record is None:
        return FileRecord(path=path, bytes=num_bytes, sha256=sha256_of(run / path))
    if record.bytes != num_bytes:
        raise ValueError(f"{path}: has {num_bytes} bytes but {record.bytes} were written; build it again")
    return record
