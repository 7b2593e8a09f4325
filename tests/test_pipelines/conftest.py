"""What several files share: a small finished build of twelve photos, of which one is broken, and a small cluster."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from local_s3 import local_s3
from small_source import write_small_celeba

from pipelines.build_dataset import build_dataset
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig, load_config

BROKEN = "000005"


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of two processes that know of a local S3."""
    with (
        local_s3(),  # first, so that the workers have its address
        open_cluster(ClusterChoice(local="2"), scratch=tmp_path_factory.mktemp("dask")) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def scored_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CelebA folder with identities 1, 2, 3 in turn, and a photo that cannot be decoded."""
    folder = tmp_path_factory.mktemp("scored") / "celeba"
    write_small_celeba(folder, num_photos=12)
    (folder / "img_celeba" / f"{BROKEN}.jpg").write_bytes(b"no picture")
    rows = "".join(f"{number:06d}.jpg {number % 3 + 1}\n" for number in range(1, 13))
    (folder / "Anno" / "identity_CelebA.txt").write_text(rows)
    return folder


@pytest.fixture(scope="session")
def scored_config(scored_source: Path) -> BuildConfig:
    """The settings of `scored_run`: the best six of eleven, in shards of four."""
    settings = ["align.size=16", "select.count=6", "pack.rows_per_shard=4", "run.chunk_photos=4", "run.workers=1"]
    return load_config(assignments=[f'source.root="{scored_source}"', *settings])


@pytest.fixture(scope="session")
def scored_run(scored_config: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; to be copied before it is changed."""
    run = tmp_path_factory.mktemp("scored") / "run"
    build_dataset(scored_config, run)
    return run


@pytest.fixture
def copied(scored_run: Path, tmp_path: Path) -> Path:
    """A copy of `scored_run`."""
    return Path(shutil.copytree(scored_run, tmp_path / "copied"))
