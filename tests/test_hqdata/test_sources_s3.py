"""Photos in a bucket: listed in pages, each read in one request, and not lost to a moment's failure."""

import pytest
from local_s3 import BUCKET, client, local_s3

from hqdata import store_errors
from hqdata.record import PhotoRef, Refused
from hqdata.sources.files import list_files, read_bytes
from hqdata.sources.source import SourceError

ROOT = f"s3://{BUCKET}/photos"


@pytest.fixture(scope="module")
def server():
    with local_s3() as server:
        for number in range(20):
            client().put_object(Bucket=BUCKET, Key=f"photos/{number % 3}/{number:02d}.jpg", Body=bytes(number + 1))
        client().put_object(Bucket=BUCKET, Key="photos/empty/", Body=b"")
        client().put_object(Bucket=BUCKET, Key="photos/.hidden/a.jpg", Body=b"1")
        client().put_object(Bucket=BUCKET, Key="photos-too/a.jpg", Body=b"1")
        yield server


@pytest.fixture
def s3(server, monkeypatch):
    monkeypatch.setattr(store_errors, "PAUSES_S", (0.0, 0.0))
    server.faults.clear()
    server.requests.clear()
    yield server
    server.faults.clear()


def listed():
    return list(list_files(ROOT, extensions=[".jpg"]))


def photo(path):
    return PhotoRef(id=path, path=path, version="1", size_bytes=1)


def test_every_page_of_the_listing_is_seen(s3, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    files = listed()
    assert [(file.path, file.size_bytes) for file in files] == sorted(
        (f"{number % 3}/{number:02d}.jpg", number + 1) for number in range(20)
    )
    assert len(s3.requests) == 4


def test_a_changed_photo_has_another_version(s3):
    before = {file.path: file.version for file in listed()}
    client().put_object(Bucket=BUCKET, Key="photos/0/00.jpg", Body=b"2")
    after = {file.path: file.version for file in listed()}
    assert [path for path in before if before[path] != after[path]] == ["0/00.jpg"]


def test_a_photo_is_read_in_one_request(s3):
    assert read_bytes(ROOT, photo("1/01.jpg")) == bytes(2)
    assert len(s3.requests) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_photo_is_not_lost_to_a_moments_failure(s3, status):
    s3.fail("GET", status=status, times=2)
    assert read_bytes(ROOT, photo("1/01.jpg")) == bytes(2)


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "the file cannot be read"), (403, "no permission"), (404, "the file is missing")]
)
def test_a_photo_that_cannot_be_read_is_refused(s3, status, reason):
    s3.fail("GET", status=status, times=99)
    with pytest.raises(Refused, match=reason):
        read_bytes(ROOT, photo("1/01.jpg"))


def test_a_store_out_of_reach_is_no_fault_of_ours(s3, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setattr("s3fs.S3FileSystem.cachable", False)
        with pytest.raises(Refused, match=r"the file cannot be read .*127.0.0.1:9"):
            read_bytes(ROOT, photo("1/01.jpg"))


@pytest.mark.parametrize("root", ["s3://nowhere/photos", f"s3://{BUCKET}/nothing"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(s3, root):
    with pytest.raises(SourceError, match=root):
        list(list_files(root, extensions=[".jpg"]))


def test_a_listing_that_is_refused_is_an_error_of_the_source(s3):
    s3.fail("GET", status=403, times=99)
    with pytest.raises(SourceError, match=r"cannot be listed .*credentials"):
        listed()
