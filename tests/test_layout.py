"""The house itself: rooms, names, and what may be imported without what."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hqdata.sources import Source
from hqdata.storage import open_folder
from pipelines.config import BuildConfig, LandmarksConfig
from pipelines.job import make_job
from pipelines.knowledge import Knowledge
from pipelines.stats import Stats
from pipelines.tables import write_rated, write_selected

ROOT = Path(__file__).parents[1]
ROOMS = ("gan", "hqdata", "metrics", "pipelines")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "hqdata" / "weights").glob("*.md")])
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_comes_from_our_distribution_alone(room: str):
    owners = importlib.metadata.packages_distributions().get(room, [])
    assert set(owners) == {"progan-hq"}, f"{room} is provided by {owners}; uninstall the stranger"


def test_every_package_is_listed_for_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES if path.name == "__init__.py"}
    assert sorted(listed) == sorted(present)


def test_every_data_file_is_listed_for_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {
        path for name, globs in listed.items() for glob in globs for path in (ROOT / name.replace(".", "/")).glob(glob)
    }
    present = {path for room in ROOMS for path in (ROOT / room).rglob("[!.]*.*") if path.is_file()}
    assert {path for path in present - packed if path.suffix not in {".py", ".pyc"}} == set()


def test_the_licence_covers_the_shipped_weights():
    licence = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    shipped = {json.loads(path.read_text())["licence"] for path in (ROOT / "hqdata" / "weights").glob("*.json")}
    assert shipped
    assert shipped <= set(licence.split(" AND "))


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in MODULES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_named_for_its_idea(path: Path):
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    assert path.stem not in ROOMS
    assert len(path.read_text().splitlines()) <= 400


def test_test_folders_do_not_shadow_a_room():
    assert not {folder.name for folder in (ROOT / "tests").iterdir()} & set(ROOMS)


def test_test_files_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set()


@pytest.mark.parametrize("folder", ["pipelines", "pipelines/clusters"])
def test_a_newcomer_finds_every_module_in_the_docstring_of_its_package(folder: str):
    docstring = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    named = [name.replace("*", ".*") for name in re.findall(r"`([\w*]+)`", docstring)]
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert {module for module in modules if not any(re.fullmatch(name, module) for name in named)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_column_of_a_run_is_specified(tmp_path: Path):
    known = Knowledge([], LandmarksConfig())
    run = open_folder(tmp_path / "run")
    job = make_job(BuildConfig(), Source(kind="photos", root=str(tmp_path), photos=()), run, "cpu")
    nothing = np.zeros(0, np.int64)
    write_rated(run, known, job, {})
    write_selected(run, known, nothing)
    columns = {name for path in run.path.glob("*.parquet") for name in pq.read_schema(path).names}
    counts = Stats().to_json(known, nothing)
    specified = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "formats.md").read_text()))
    assert columns | counts.keys() | counts["counts"].keys() | counts["this_build"].keys() <= specified


def _modules_after(code: str) -> set[str]:
    report = "import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    answer = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_the_command_line_answers_without_torch_and_dask():
    loaded = _modules_after("import pipelines.cli")
    assert not loaded & {"torch", "dask", "distributed", "numpy", "cv2", "pyarrow"}


def test_metrics_imports_alone():
    assert not _modules_after("import metrics") & {"hqdata", "gan", "pipelines", "dask", "distributed"}


def test_hqdata_never_needs_dask():
    code = "import hqdata.render, hqdata.shards, hqdata.sources, hqdata.landmarks, hqdata.quality, hqdata.align"
    assert not _modules_after(code) & {"dask", "distributed", "pipelines", "gan", "metrics"}
