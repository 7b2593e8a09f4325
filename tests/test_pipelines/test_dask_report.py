"""Dask's own page: written where bokeh is, a warning where it is not, and never the end of a build."""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from distributed import Client

from hqdata.storage import open_folder
from pipelines import dask_report
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_report import DASK_REPORT_PATH, watched

pytestmark = pytest.mark.dask


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.mark.skipif(find_spec("bokeh") is None, reason="bokeh is not installed, the extra [dashboard]")
def test_a_page_of_the_tasks_is_written(client: Client, tmp_path: Path):
    with watched(client, open_folder(tmp_path), wanted=True):
        client.submit(sum, [1, 2]).result()
    assert "Task Stream" in (tmp_path / DASK_REPORT_PATH).read_text()


def test_no_page_is_written_where_none_is_wanted(client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with watched(client, open_folder(tmp_path), wanted=False):
        client.submit(sum, [1, 2]).result()
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def no_bokeh(name: str) -> None:
    """Stands for a search on a scheduler that lacks it."""


def test_a_scheduler_without_bokeh_costs_a_warning_that_names_the_extra(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.WARNING)  # the cluster of the fixture silences all handlers of that moment
    monkeypatch.setattr(dask_report, "find_spec", no_bokeh)
    with watched(client, open_folder(tmp_path), wanted=True):
        client.submit(sum, [1, 2]).result()
    assert "progan-hq[dashboard]" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_build_is_not_hidden_by_the_page(client: Client, tmp_path: Path):
    with pytest.raises(OSError, match="disk"), watched(client, open_folder(tmp_path), wanted=True):
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("bokeh") is None, reason="bokeh is not installed, the extra [dashboard]")
def test_a_page_that_cannot_be_written_is_a_warning(client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    (tmp_path / "report").write_text("a file where the folder should be")
    with watched(client, open_folder(tmp_path), wanted=True):
        client.submit(sum, [1, 2]).result()
    assert DASK_REPORT_PATH in caplog.text
    assert [record.levelno for record in caplog.records if record.name.startswith("pipelines")] == [logging.WARNING]
