"""What only S3 needs, or can do better than fsspec's common calls do: listing in pages, deleting with every error seen,
and clearing away uploads that a killed process began.

`store` is an s3fs file system; `call_s3` is its way to any request of the protocol.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hqdata.disk_folder import StoredFile
from hqdata.store_errors import attempt

__all__ = [
    "DELETED_AT_ONCE",
    "PART_BYTES",
    "abandon_uploads",
    "delete_objects",
    "describe_objects",
    "is_s3",
    "list_objects",
    "read_options",
    "upload",
]

DELETED_AT_ONCE = 1000
"""Keys in one request; more are refused."""
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
"""An upload holds 32 MiB in memory."""
MOST_PARTS = 10_000

logger = logging.getLogger(__name__)


def is_s3(store: Any) -> bool:
    """Return whether it is a store that speaks S3."""
    return hasattr(store, "call_s3")


def read_options(store: Any) -> dict[str, int]:
    """Return what makes s3fs read a file in one request; nothing for other stores.

    Otherwise it asks for the size first, and may join parts of two versions of a large file.
    """
    return {"max_concurrency": 1} if is_s3(store) else {}


def upload(store: Any, local: Path, path: str) -> None:
    """Put a file in one request, or a large one in parts; an upload that fails is aborted, so that nothing stays.

    s3fs aborts while other parts are still on their way, and a part that comes in after that may stay.
    """
    size = local.stat().st_size
    if size < 2 * PART_BYTES:
        store.put_file(str(local), path)
        return
    bucket, key, _ = store.split_path(path)
    place = {"Bucket": bucket, "Key": key}
    place["UploadId"] = store.call_s3("create_multipart_upload", **place)["UploadId"]
    try:
        parts = _upload_parts(store, local, place, max(PART_BYTES, math.ceil(size / MOST_PARTS)))
        store.call_s3("complete_multipart_upload", MultipartUpload={"Parts": parts}, **place)
    except BaseException:
        try:
            store.call_s3("abort_multipart_upload", **place)
        except Exception as error:
            logger.warning("%s: an unfinished upload stays until the run is finished: %s", path, error)
        raise


def _upload_parts(store: Any, local: Path, place: dict[str, str], part_bytes: int) -> list[dict[str, Any]]:
    """Return what completes an upload; on an error, no part is on its way any more."""

    def send(number: int) -> dict[str, Any]:
        with local.open("rb") as file:
            file.seek(number * part_bytes)
            answer = store.call_s3("upload_part", PartNumber=number + 1, Body=file.read(part_bytes), **place)
        return {"PartNumber": number + 1, "ETag": answer["ETag"]}

    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        return list(pool.map(send, range(math.ceil(local.stat().st_size / part_bytes))))


def list_objects(store: Any, base: str) -> Iterator[StoredFile]:
    """Yield the objects below `base`, sorted by name.

    A name with a slash at its end is what some programs write for an empty folder.
    """
    return (StoredFile(name, int(item["Size"])) for name, item in describe_objects(store, base))


def describe_objects(store: Any, base: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects below `base` with what S3 says of each, holding one page of a thousand at a time."""
    bucket, key, _ = store.split_path(base)
    prefix = f"{key}/" if key else ""
    more: dict[str, str] = {}
    while True:
        arguments = {"Bucket": bucket, "Prefix": prefix} | more
        page = attempt(lambda asked=arguments: store.call_s3("list_objects_v2", **asked), f"s3://{base}")
        for item in page.get("Contents", ()):
            yield item["Key"].removeprefix(prefix), item
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def delete_objects(store: Any, paths: Sequence[str]) -> None:
    """Remove up to a thousand objects of one bucket; those that are not there are passed over.

    Raises:
        PermissionError: if one could not be removed; s3fs's own call passes over that.
    """
    keys = [store.split_path(path) for path in paths]
    wanted = {"Objects": [{"Key": key} for _, key, _ in keys], "Quiet": True}
    errors = store.call_s3("delete_objects", Bucket=keys[0][0], Delete=wanted).get("Errors", ())
    for error in errors:
        if error.get("Code") in ("AccessDenied", "AllAccessDisabled"):
            raise PermissionError(f"{error.get('Key')}: {error.get('Message')}")
        raise OSError(f"{error.get('Key')}: {error.get('Code')} {error.get('Message')}")


def abandon_uploads(store: Any, base: str) -> None:
    """Abort every unfinished upload below `base`: they cost storage, and no listing shows them.

    Not while anybody writes there: an upload that goes on would fail.
    """
    bucket, key, _ = store.split_path(base)
    more: dict[str, str] = {}
    while True:
        page = store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/" if key else "", **more)
        for upload in page.get("Uploads", ()):
            store.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
