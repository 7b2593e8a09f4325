"""Laws of a run's folder, the same on a disk, in fsspec's memory and in an S3 bucket."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local_s3 import client, keys, local_s3, unfinished_uploads

from hqdata import disk_folder, s3_requests, scratch, store_errors
from hqdata.scratch import SCRATCH_VARIABLE
from hqdata.settings import ConfigError
from hqdata.storage import Folder, StoredFile, open_folder

HASH_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
PART_BYTES = 5 << 20
"""The least that S3 takes."""
BIG = bytes(3 * PART_BYTES)


@pytest.fixture(scope="module")
def s3():
    with local_s3() as server:
        yield server


@pytest.fixture(params=["disk", "memory", "s3"])
def folder(request, tmp_path):
    """A folder that does not exist yet."""
    if request.param == "disk":
        yield open_folder(tmp_path / "run")
        return
    if request.param == "s3":
        request.getfixturevalue("s3")
    url = {"memory": "memory://bucket/run", "s3": "s3://bucket/run"}[request.param]
    yield open_folder(url)
    open_folder(url).delete_all()


@pytest.fixture
def in_s3(s3):
    s3.faults.clear()
    s3.requests.clear()
    yield open_folder("s3://bucket/run")
    s3.faults.clear()
    open_folder("s3://bucket/run").delete_all()


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A scratch folder of our own."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv(SCRATCH_VARIABLE, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture(autouse=True)
def fast_stores(monkeypatch):
    monkeypatch.setattr(store_errors, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(s3_requests, "PART_BYTES", PART_BYTES)


def test_what_is_written_is_read(folder):
    folder.write("work/a.bin", b"abc")
    folder.write("work/a.bin", b"abcd")
    folder.write_json("b.json", {"x": 1})
    assert (folder.read("work/a.bin"), (folder / "work").read("a.bin")) == (b"abcd", b"abcd")
    assert folder.read_json("b.json") == {"x": 1}
    assert (folder.size("b.json"), folder.exists("b.json")) == (len(b'{\n  "x": 1\n}\n'), True)


def test_the_hash_is_that_of_the_bytes(folder):
    folder.write("a", b"abc")
    assert folder.sha256("a") == HASH_OF_ABC


def test_the_hash_of_an_empty_file_is_that_of_nothing(folder):
    folder.write("a", b"")
    assert folder.sha256("a") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_an_opened_file_can_be_read_from_its_end(folder):
    folder.write("a", b"0123456789")
    with folder.open("a") as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"789"


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: folder.read("no"),
        lambda folder: list(folder.read_many(["there", "no"])),
        lambda folder: folder.read_json("no"),
        lambda folder: folder.open("no").read(),
        lambda folder: folder.sha256("no"),
        lambda folder: folder.reading("no").__enter__().read_bytes(),
    ],
)
def test_a_missing_file_is_a_file_not_found_that_names_it(folder, call):
    folder.write("there", b"1")
    with pytest.raises(FileNotFoundError, match="no") as caught:
        call(folder)
    assert caught.value.errno == errno.ENOENT


def test_a_missing_file_is_nothing_to_those_who_ask_gently(folder):
    assert folder.read_if_there("no") is None
    assert (folder.size("no"), folder.exists("no"), folder.sizes(["no", "a/no"])) == (
        None,
        False,
        {"no": None, "a/no": None},
    )
    folder.delete("no")
    folder.delete_all()


def test_a_folder_is_no_file(folder):
    folder.write("work/a", b"1")
    assert (folder.size("work"), folder.exists("work")) == (None, False)


def test_a_folder_that_is_not_there_is_empty(folder):
    assert (folder.files(), folder.folders(), folder.is_empty()) == ([], [], True)


def test_files_are_listed_with_their_sizes_in_order_of_their_names(folder):
    names = ["b/c", "b-a", "b/a/z", "a", "b/a.x", "b.c", "[1]*?.png"]
    for name in names:
        folder.write(name, name.encode())
    assert folder.files() == [StoredFile(name, len(name)) for name in sorted(names)]
    assert folder.folders() == ["b"]
    assert (folder / "b").folders() == ["a"]
    assert not folder.is_empty()


def test_more_files_than_a_page_holds_are_listed_and_deleted(folder, monkeypatch):
    for number in range(30):
        folder.write(f"a/{number:02d}", b"1")
    monkeypatch.setattr("hqdata.s3_requests.DELETED_AT_ONCE", 7)
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    folder.delete_many(f"a/{number:02d}" for number in range(20))
    assert [file.name for file in folder.files()] == [f"a/{number:02d}" for number in range(20, 30)]


def test_sizes_are_those_of_the_listing(folder):
    folder.write("a/b/c", b"123")
    folder.write("d", b"12")
    assert folder.sizes(["d", "a/b/c", "a/b", "a/b/d"]) == {"d": 2, "a/b/c": 3, "a/b": None, "a/b/d": None}


def test_many_files_come_in_the_order_that_was_asked_for(folder):
    names = [f"a/{number:03d}[x]" for number in range(70)]
    for name in names:
        folder.write(name, name.encode())
    asked = names[::-1]
    assert list(folder.read_many(iter(asked))) == [(name, name.encode()) for name in asked]


def test_one_deleted_file_leaves_the_others(folder):
    folder.write("a/[1]*", b"1")
    folder.write("a/[1]*2", b"1")
    folder.delete("a/[1]*")
    assert [file.name for file in folder.files()] == ["a/[1]*2"]


def test_deleting_a_folder_leaves_its_neighbours(folder):
    for name in ("a/b/c", "a/d", "ab", "a.b/c"):
        folder.write(name, b"1")
    (folder / "a").delete_all()
    assert [file.name for file in folder.files()] == ["a.b/c", "ab"]
    assert folder.folders() == ["a.b"]


def test_a_created_file_is_never_replaced(folder):
    folder.create("work/lock", b"mine")
    with pytest.raises(FileExistsError, match="lock") as caught:
        folder.create("work/lock", b"yours")
    assert (folder.read("work/lock"), caught.value.errno) == (b"mine", errno.EEXIST)
    assert [file.name for file in folder.files()] == ["work/lock"]


def test_of_many_who_create_a_file_one_succeeds(folder):
    def create(number):
        try:
            folder.create("lock", str(number).encode())
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(24)) if number is not None]
    assert [str(number).encode() for number in winners] == [folder.read("lock")]


def test_a_block_that_ends_well_publishes_its_file(folder):
    with folder.writing("data/x.bin") as path:
        path.write_bytes(b"abc")
        assert not folder.exists("data/x.bin")
    assert folder.read("data/x.bin") == b"abc"


def test_a_block_that_raises_publishes_nothing_and_leaves_the_old_file(folder, room):
    folder.write("x", b"old")

    def write_half():
        with folder.writing("x") as path:
            path.write_bytes(b"ne")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert (folder.read("x"), len(folder.files()), list(room.iterdir())) == (b"old", 1, [])


def test_a_file_to_read_is_there_as_long_as_the_block_lasts(folder, room):
    folder.write("a/x.bin", b"abc")
    with folder.reading("a/x.bin") as path:
        assert (path.name, path.read_bytes()) == ("x.bin", b"abc")
    assert list(room.iterdir()) == []


def test_a_folder_travels(folder):
    folder.write("a", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1"


@pytest.mark.parametrize("place", ["/tmp/run", "file:///tmp/run", Path("/tmp/run"), Folder("/tmp/run")])
def test_a_path_is_a_folder_on_the_disk(place):
    assert open_folder(place) == Folder("/tmp/run")
    assert open_folder(place).path == Path("/tmp/run")


def test_an_object_store_has_no_path():
    with pytest.raises(ValueError, match="memory://a: is not on a file system; copy it"):
        _ = open_folder("memory://a/").path


def test_a_url_that_nothing_can_read_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"s4://bucket/run: Protocol not known: s4; give a folder"):
        open_folder("s4://bucket/run")


def test_missing_s3fs_names_what_to_install(monkeypatch):
    def refuse(protocol):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.get_filesystem_class", refuse)
    with pytest.raises(ConfigError, match=r"Install s3fs to access S3.*pip install 'progan-hq\[s3\]'"):
        open_folder("s3://bucket/run")


# --- file systems


def test_temporary_files_are_not_listed(tmp_path):
    (tmp_path / ".a.host.1.2.tmp").touch()
    (tmp_path / "a.tmp").touch()
    assert [file.name for file in open_folder(tmp_path).files()] == ["a.tmp"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_a_created_file_is_still_exclusive(tmp_path, monkeypatch, number):
    def refuse(source, target):
        raise OSError(number, "no links here", str(target))

    monkeypatch.setattr(os, "link", refuse)
    folder = open_folder(tmp_path)
    folder.create("a", b"1")
    with pytest.raises(FileExistsError):
        folder.create("a", b"2")
    assert (folder.read("a"), len(list(tmp_path.iterdir()))) == (b"1", 1)


def test_a_link_whose_answer_was_lost_counts_as_made(tmp_path, monkeypatch):
    link = os.link

    def link_twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    open_folder(tmp_path).create("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_folder_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "a/b")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError, match="a/b"):
        open_folder(tmp_path / "a").delete_all()


def test_a_file_that_vanishes_while_it_is_listed_is_passed_over(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    listing = open_folder(tmp_path).walk()
    first = next(listing).name
    (tmp_path / "b").unlink()
    assert [first, *(file.name for file in listing)] == ["a", "c"]


def test_naming_the_folders_does_not_look_into_them(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    asked = []
    scandir = os.scandir
    monkeypatch.setattr(disk_folder.os, "scandir", lambda path: asked.append(path) or scandir(path))
    assert (open_folder(tmp_path).folders(), asked) == (["a"], [tmp_path])


# --- scratch


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_scratch_folder_is_named_with_the_variable(room):
    def fill():
        with open_folder("memory://full").writing("x"):
            full()

    with pytest.raises(OSError, match=f"no room left in the scratch folder {room}.*{SCRATCH_VARIABLE}") as caught:
        fill()
    assert (caught.value.errno, list(room.iterdir())) == (errno.ENOSPC, [])


def test_another_full_disk_is_not_blamed_on_scratch(room):
    def fill():
        with open_folder("memory://full").writing("x"):
            raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file")

    with pytest.raises(OSError, match="No space left on device: '/elsewhere/file'"):
        fill()


def test_a_missing_scratch_folder_is_no_missing_file(room):
    room.rmdir()
    folder = open_folder("memory://full")
    folder.write("x", b"1")
    with pytest.raises(NotADirectoryError, match=f"scratch folder {room} is not there"), folder.reading("x"):
        pass


def test_what_a_killed_process_left_in_scratch_is_removed(room, monkeypatch):
    monkeypatch.setattr(scratch, "SWEPT_AFTER_S", -1.0)
    (room / f"{scratch.PREFIX}dead").mkdir()
    (room / f"{scratch.PREFIX}dead" / "shard").write_bytes(b"1")
    (room / "others").mkdir()
    with scratch.scratch_file("a/x") as path:
        path.touch()
        scratch.sweep_scratch(room)
        assert sorted(folder.name for folder in room.iterdir()) == sorted([path.parent.name, "others"])


def test_a_young_scratch_folder_is_left_alone(room):
    (room / f"{scratch.PREFIX}young").mkdir()
    scratch.sweep_scratch(room)
    assert len(list(room.iterdir())) == 1
    os.utime(room / f"{scratch.PREFIX}young", (0, time.time() - 2 * scratch.SWEPT_AFTER_S))
    scratch.sweep_scratch(room)
    assert list(room.iterdir()) == []


# --- object stores


def test_what_others_write_is_seen_at_once(in_s3):
    assert in_s3.files() == []
    client().put_object(Bucket="bucket", Key="run/a", Body=b"1")
    assert [file.name for file in in_s3.files()] == ["a"]
    client().put_object(Bucket="bucket", Key="run/b/c", Body=b"1")
    assert (in_s3.folders(), in_s3.size("b/c")) == (["b"], 1)


def test_what_stands_for_an_empty_folder_is_no_file(in_s3):
    client().put_object(Bucket="bucket", Key="run/a/", Body=b"")
    assert in_s3.files() == []


def test_a_small_file_is_read_in_one_request(in_s3, s3):
    in_s3.write("a", b"1")
    in_s3.write("b", b"2")
    s3.requests.clear()
    assert [in_s3.read("a"), *in_s3.read_many(["a", "b"])] == [b"1", ("a", b"1"), ("b", b"2")]
    assert [request.split(" ")[0] for request in s3.requests] == ["GET"] * 3


def test_a_file_larger_than_a_part_is_uploaded_in_parts(in_s3, room, s3):
    with in_s3.writing("big") as path:
        path.write_bytes(BIG)
    assert len([request for request in s3.requests if "partNumber" in request]) == 3
    assert (in_s3.size("big"), in_s3.sha256("big")) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert (unfinished_uploads(), list(room.iterdir())) == ([], [])


@pytest.mark.parametrize("request_", ["PUT .*partNumber=2&", "POST .*[?]uploadId="], ids=["part", "completion"])
def test_an_upload_that_fails_in_the_middle_leaves_nothing(in_s3, room, s3, request_):
    s3.fail(request_, times=99)

    def upload():
        with in_s3.writing("big") as path:
            path.write_bytes(BIG)

    with pytest.raises(OSError, match=r"injected: 's3://bucket/run/big'"):
        upload()
    assert (keys(), unfinished_uploads(), list(room.iterdir())) == ([], [], [])


@pytest.mark.parametrize("request_", ["PUT .*partNumber=2&", "POST .*[?]uploadId="], ids=["part", "completion"])
def test_an_upload_that_failed_once_is_repeated(in_s3, room, s3, request_):
    s3.fail(request_, times=1)
    with in_s3.writing("big") as path:
        path.write_bytes(BIG)
    assert (in_s3.sha256("big"), unfinished_uploads()) == (hashlib.sha256(BIG).hexdigest(), [])


def test_an_upload_that_fails_leaves_the_earlier_file(in_s3, room, s3):
    in_s3.write("big", b"old")
    s3.fail("PUT .*partNumber=2&", times=99)

    def upload():
        with in_s3.writing("big") as path:
            path.write_bytes(BIG)

    with pytest.raises(OSError, match="injected"):
        upload()
    assert in_s3.read("big") == b"old"


def test_what_a_killed_process_began_to_upload_can_be_cleared_away(in_s3, room, s3):
    begun = s3.fail("PUT .*partNumber=3&", held=threading.Event())
    script = "from hqdata.storage import open_folder\n"
    script += "with open_folder('s3://bucket/run/data').writing('big') as path: path.write_bytes(bytes(3 << 24))"
    with subprocess.Popen([sys.executable, "-c", script]) as worker:
        assert begun.met.wait(30)
        worker.kill()
    begun.held.set()
    assert (keys(), unfinished_uploads()) == ([], ["run/data/big"])
    (in_s3 / "data-other").delete_remains()
    assert unfinished_uploads() == ["run/data/big"]
    (in_s3 / "data").delete_remains()
    assert unfinished_uploads() == []


@pytest.mark.parametrize("status", [403, 501])
def test_unfinished_uploads_that_may_not_be_listed_are_told_of(in_s3, s3, caplog, status):
    s3.fail("GET .*uploads", status=status, times=1)
    in_s3.delete_remains()
    assert "unfinished uploads of killed processes may stay" in caplog.text


@pytest.mark.parametrize(
    ("status", "number"), [(500, errno.EREMOTEIO), (403, errno.EACCES)], ids=["server error", "no permission"]
)
@pytest.mark.parametrize(
    ("request_", "call"),
    [
        ("GET .*/run/a", lambda folder: folder.read("a")),
        ("GET .*/run/a", lambda folder: list(folder.read_many(["a"]))),
        ("PUT", lambda folder: folder.write("a", b"1")),
        ("PUT", lambda folder: folder.create("b", b"1")),
        ("GET .*list-type", lambda folder: folder.files()),
        ("GET .*list-type", lambda folder: folder.folders()),
        ("HEAD", lambda folder: folder.size("a")),
        ("POST .*delete", lambda folder: folder.delete("a")),
    ],
    ids=["read", "read_many", "write", "create", "files", "folders", "size", "delete"],
)
def test_a_failing_request_is_an_oserror_with_a_number(in_s3, s3, request_, call, status, number):
    in_s3.write("a", b"1")
    s3.fail(request_, status=status, times=99)
    with pytest.raises(OSError, match="s3://bucket/run") as caught:
        call(in_s3)
    assert caught.value.errno == number


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_that_passes_is_not_seen(in_s3, s3, status):
    in_s3.write("a", b"1")
    s3.fail("GET .*/run/a", status=status, times=2)
    assert in_s3.read("a") == b"1"
    s3.fail("GET .*list-type", status=status, times=2)
    assert [file.name for file in in_s3.files()] == ["a"]


def test_a_missing_permission_is_not_asked_for_twice(in_s3, s3):
    s3.fail("PUT", status=403, times=99)
    with pytest.raises(PermissionError, match="check the store's credentials"):
        in_s3.write("a", b"1")
    assert [request.split(" ")[0] for request in s3.requests] == ["PUT"]


def test_a_store_without_conditional_writes_still_refuses_a_second_file(in_s3, s3, caplog):
    s3.fail("PUT", status=501, times=1)
    in_s3.create("a", b"1")
    assert "the store knows no exclusive writes" in caplog.text
    with pytest.raises(FileExistsError):
        in_s3.create("a", b"2")
    assert in_s3.read("a") == b"1"


def test_missing_credentials_are_a_missing_permission(in_s3, monkeypatch):
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr("s3fs.S3FileSystem.cachable", False)
        with pytest.raises(PermissionError, match="redentials"):
            in_s3.read("a")


def test_an_object_that_may_not_be_deleted_is_an_error(in_s3, monkeypatch):
    answer = {"Errors": [{"Key": "run/a", "Code": "AccessDenied", "Message": "Access Denied"}]}
    with monkeypatch.context() as patch:
        patch.setattr("s3fs.S3FileSystem.call_s3", lambda *_, **__: answer)
        with pytest.raises(PermissionError, match="run/a: Access Denied"):
            in_s3.delete("a")


def test_a_bucket_that_is_not_there_holds_nothing_and_takes_nothing(s3):
    folder = open_folder("s3://nowhere/run")
    assert (folder.files(), folder.folders(), folder.is_empty(), folder.size("a")) == ([], [], True, None)
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        folder.write("a", b"1")
