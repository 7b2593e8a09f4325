"""A run in an object store answers as the same run on a disk."""

from collections import Counter
from pathlib import Path

import pytest
from local_s3 import BUCKET, local_s3

from hqdata.storage import open_folder
from pipelines.explain import explain
from pipelines.inspect_run import inspect_run
from pipelines.progress import PROGRESS_PATH
from pipelines.retry import Refusals, forget_refusals, list_refusals
from pipelines.status import run_status

pytestmark = [pytest.mark.dask, pytest.mark.slow]


def test_status_inspect_explain_and_retry_are_those_of_the_disk(scored_run: Path):
    disk = open_folder(scored_run)
    with local_s3():
        store = open_folder(f"s3://{BUCKET}/run")
        for file in disk.files():
            store.write(file.name, disk.read(file.name))
        store.write(PROGRESS_PATH, disk.read(PROGRESS_PATH).splitlines(keepends=True)[-1])
        here, there = run_status(disk), run_status(store)
        assert (there.state, there.phase, there.counts) == (here.state, here.phase, here.counts)
        described = [line.replace(str(store), str(disk)) for line in inspect_run(store)]
        assert described[1:] == list(inspect_run(disk))[1:]
        names = ["000001", "000005"]
        assert explain(store, names) == explain(disk, names)
        assert forget_refusals(store, Refusals(stage="read")) == list_refusals(disk)
        assert list_refusals(store) == Counter()
