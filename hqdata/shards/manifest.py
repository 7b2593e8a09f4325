"""RUN/manifest.json: size and sha256 of every output file, written last; a run without it is not finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hqdata.shards.format import MANIFEST_FORMAT, MANIFEST_PATH, VERSION, WORK_FOLDER, FileRecord
from hqdata.storage import Folder, StoredFile, open_folder

__all__ = ["manifest_json", "read_manifest", "remove_manifest", "write_manifest"]


def write_manifest(run: Folder | Path | str, known: Iterable[FileRecord] = ()) -> None:
    """Write the manifest over every output file now in the run folder.

    Args:
        run: the run folder, in which nothing is being written any more.
        known: records of files that were hashed while they were written, so that they are not read again; the other
            files are.

    Raises:
        ValueError: if a known file is missing or has another size than its record says; it names the file.
    """
    folder = open_folder(run)
    records = {record.path: record for record in known}
    files = _outputs(folder)
    missing = sorted(records.keys() - {file.name for file in files})
    if missing:
        raise ValueError(f"{missing[0]}: was written but is no longer in {run}; build it again")
    found = {file.name: _record(folder, file, records.get(file.name)) for file in files}
    folder.write_json(MANIFEST_PATH, manifest_json(found))


def manifest_json(records: Mapping[str, FileRecord]) -> dict[str, Any]:
    """Return the manifest's content."""
    files = {path: {"bytes": record.bytes, "sha256": record.sha256} for path, record in records.items()}
    return {"format": MANIFEST_FORMAT, "version": VERSION, "files": files}


def remove_manifest(run: Folder | Path | str) -> None:
    """Declare the run unfinished, before any of its outputs changes; nothing happens where there is no manifest."""
    open_folder(run).delete(MANIFEST_PATH)


def read_manifest(run: Folder | Path | str) -> dict[str, FileRecord]:
    """Return the record of every output file by its path.

    Raises:
        FileNotFoundError: if there is none, so that the run is not finished.
        ValueError: if it is damaged or of a version that this reader does not know.
    """
    path = f"{run}/{MANIFEST_PATH}"
    text = open_folder(run).read_if_there(MANIFEST_PATH)
    if text is None:
        raise FileNotFoundError(
            f"{path}: missing, so the run is not finished; repeat the same `hqdata build` command to finish it"
        )
    try:
        manifest = json.loads(text)
        known = (manifest["format"], manifest["version"])
        files = {name: FileRecord(path=name, **entry) for name, entry in manifest["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); repeat the same `hqdata build` command") from error
    if known != (MANIFEST_FORMAT, VERSION):
        raise ValueError(f"{path}: format and version must be {(MANIFEST_FORMAT, VERSION)}, got {known}")
    return files


def _outputs(folder: Folder) -> list[StoredFile]:
    """Return all but the work folder and the manifest; temporary files of a killed process are not outputs."""
    return [file for file in folder.walk(without={WORK_FOLDER}) if file.name != MANIFEST_PATH]


def _record(folder: Folder, file: StoredFile, record: FileRecord | None) -> FileRecord:
    if record is None:
        return FileRecord(path=file.name, bytes=file.bytes, sha256=folder.sha256(file.name))
    if record.bytes != file.bytes:
        raise ValueError(f"{file.name}: has {file.bytes} bytes but {record.bytes} were written; build it again")
    return record
