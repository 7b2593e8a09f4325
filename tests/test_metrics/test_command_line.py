"""`python -m metrics` as a user meets it: results on stdout, sentences on stderr, exit codes, no network."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from small_features import GridColours, noise_pictures, small_preparation

from metrics.command_line import score_group
from metrics.features import register_extractor
from metrics.report import Report
from metrics.statistics_files import load_statistics

register_extractor("grid-colours", GridColours, preparation=small_preparation())
NETWORK = ["--extractor", "grid-colours", "--device", "cpu"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HQ_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    made = []
    for seed, name in enumerate(("reference", "generated")):
        folder = tmp_path_factory.mktemp("sets") / name
        folder.mkdir()
        for number, picture in enumerate(noise_pictures(seed, 30, side=16)):
            Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{number}.png")
        made.append(str(folder))
    return made


def metrics(*words: str) -> Result:
    return CliRunner().invoke(score_group, words)


def test_two_sets_give_a_table_on_stdout(folders: list[str]):
    answer = metrics(*folders, "-m", "fid,prdc", *NETWORK)
    assert answer.exit_code == 0
    assert "FD-grid-colours" in answer.stdout
    assert "coverage" in answer.stdout


def test_options_may_come_before_the_sets(folders: list[str]):
    assert metrics("-m", "fid", *NETWORK, *folders).exit_code == 0


def test_the_command_may_be_named(folders: list[str]):
    assert metrics("score", *folders, "-m", "fid", *NETWORK).exit_code == 0


def test_json_goes_to_a_file_beside_the_table(folders: list[str], tmp_path: Path):
    answer = metrics(
        *folders, "-m", "fid", *NETWORK, "--json", str(tmp_path / "out.json"), "--ci", "0.9", "--seed", "4"
    )
    report = Report.from_json((tmp_path / "out.json").read_text())
    assert (report.seed, report.ci, report["fid"].name) == (4, 0.9, "FD-grid-colours")
    assert "FD-grid-colours" in answer.stdout


def test_a_dash_puts_json_alone_on_stdout(folders: list[str]):
    answer = metrics(*folders, "-m", "fid", *NETWORK, "--json", "-")
    assert json.loads(answer.stdout)["format"] == "metrics-report"


def test_a_plot_is_drawn(folders: list[str], tmp_path: Path):
    pytest.importorskip("matplotlib")
    assert metrics(*folders, "-m", "fid", *NETWORK, "--plot", str(tmp_path / "out.svg")).exit_code == 0
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("name", ["out.txt", "out"])
def test_a_plot_that_could_not_be_written_is_refused_before_pictures_are_read(tmp_path: Path, name: str):
    pytest.importorskip("matplotlib")
    answer = metrics("nowhere", "nowhere", "--plot", str(tmp_path / name))
    assert answer.exit_code == 2
    assert f"{name}: a plot's name must end in one of" in answer.stderr


def test_metric_names_may_have_hyphens_and_spaces(folders: list[str]):
    answer = metrics(*folders, "-m", "MS-SSIM, fid", *NETWORK)
    assert answer.exit_code == 0
    assert "MS-SSIM" in answer.stdout


def test_size_and_limit_apply_to_both_sets(folders: list[str], tmp_path: Path):
    answer = metrics(*folders, "-m", "fid", *NETWORK, "--size", "32", "--limit", "20", "--json", "-")
    content = json.loads(answer.stdout)
    assert [(content[role]["pictures"], content[role]["size"]) for role in ("reference", "generated")] == [
        (20, "32 x 32"),
        (20, "32 x 32"),
    ]


def test_the_cache_is_used_and_can_be_shown_and_cleared(folders: list[str]):
    metrics(*folders, "-m", "fid", *NETWORK)
    assert "taken from the cache" in metrics(*folders, "-m", "fid", *NETWORK).stdout
    assert "1 entries" in metrics("cache").stdout
    assert "1 entries deleted" in metrics("cache", "--clear").stdout
    assert "0 entries" in metrics("cache").stdout


def test_no_cache_leaves_nothing_behind(folders: list[str], tmp_path: Path):
    metrics(*folders, "-m", "fid", *NETWORK, "--cache", "none")
    assert not (tmp_path / "cache").exists()


def test_stats_writes_a_file_that_score_takes_as_reference(folders: list[str], tmp_path: Path):
    path = str(tmp_path / "ref.npz")
    answer = metrics("stats", folders[0], "-o", path, *NETWORK)
    assert "30 pictures" in answer.stdout
    assert load_statistics(path).count == 30
    direct = json.loads(metrics(*folders, "-m", "fid", *NETWORK, "--json", "-").stdout)
    by_file = json.loads(metrics(path, folders[1], "-m", "fid", *NETWORK, "--json", "-").stdout)
    assert by_file["figures"][0]["value"] == pytest.approx(direct["figures"][0]["value"], rel=1e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{a}"], "Missing argument 'GENERATED'"),
        (["{a}", "{b}", "--frobnicate"], "--frobnicate"),
        (["{a}", "{b}", "-m", "fidd"], "did you mean 'fid'"),
        (["{a}", "{b}", "-m", ","], "names no metric"),
        (["{a}", "{tmp}/none"], "no such file or folder"),
        (["{a}", "{b}", "-m", "fid", "--device", "abacus"], "abacus"),
        (["{a}", "{b}", "-m", "fid", "--extractor", "inception-fit"], "did you mean 'inception-fid'"),
        (["{a}", "{b}", "-m", "fid", "--ci", "95"], "between 0 and 1"),
        (["{a}", "{b}", "-m", "fid", "--batch-size", "0"], "auto or a positive number"),
        (["{a}", "{b}", "-m", "fid", "--protocol", "tf2", "--extractor", "inception-fid"], "tf2"),
        (["stats", "{a}"], "--output"),
        (["stats", "{a}", "-o", "{tmp}/ref.pkl"], ".npz"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(folders: list[str], tmp_path: Path, words: list[str], sentence: str):
    network = [] if "--extractor" in words else NETWORK
    filled = [word.format(a=folders[0], b=folders[1], tmp=tmp_path) for word in words]
    answer = metrics(*filled[:1], *network, *filled[1:])
    assert answer.exit_code == 2
    assert sentence in answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr


def test_missing_weights_are_exit_code_3_and_say_what_to_get(folders: list[str]):
    answer = metrics(*folders, "-m", "fid")
    assert answer.exit_code == 3
    assert "pt_inception-2015-12-05-6726825d.pth" in answer.stderr
    assert "efficientnet-lite0" in answer.stderr


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, folders: list[str]):
    def broken(**options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("metrics.evaluation.evaluate", broken)
    assert isinstance(metrics(*folders, *NETWORK).exception, RuntimeError)


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"]])
def test_help_shows_the_options_of_score(words: list[str]):
    answer = metrics(*words)
    assert answer.exit_code == 0
    assert "--metrics" in answer.stdout
    assert "REFERENCE GENERATED" in answer.stdout


def test_help_lists_the_commands():
    assert all(name in metrics("--help").stdout for name in ("score", "stats", "doctor", "cache"))


def test_nothing_at_all_is_answered_by_the_help():
    assert "--metrics" in metrics().output


def test_help_answers_without_torch():
    code = "import sys\nfrom metrics.command_line import score_group\nprint('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_as_a_module_nothing_but_results_is_on_stdout(folders: list[str], tmp_path: Path):
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = refuse\n"
        "sys.argv = ['metrics', *sys.argv[1:]]\n"
        "import runpy; runpy.run_module('metrics', run_name='__main__')\n"
    )
    words = [*folders, "-m", "swd", "--json", "-"]
    answer = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["figures"][0]["metric"] == "swd"


def test_a_precision_is_in_the_protocol(folders: list[str]):
    answer = metrics(*folders, "-m", "fid", *NETWORK, "--precision", "bfloat16")
    assert answer.exit_code == 0
    assert "bfloat16" in answer.stdout


def test_progress_goes_to_a_terminal_on_stderr(monkeypatch: pytest.MonkeyPatch, folders: list[str]):
    monkeypatch.setattr("metrics.command_line._on_terminal", lambda: True)
    answer = metrics(*folders, "-m", "fid", *NETWORK, "--json", "-")
    assert "reference 30/30" in answer.stderr
    assert json.loads(answer.stdout)
    assert "reference" not in metrics(*folders, "-m", "fid", *NETWORK, "--quiet").stderr


def test_importing_the_room_loads_neither_networks_nor_downloaders():
    code = "import sys, metrics\nprint(' '.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "dask", "distributed", "hqdata", "gan", "pipelines", "requests", "urllib.request"}


def test_arrays_of_statistics_work_without_pictures(tmp_path: Path, folders: list[str]):
    np.savez(tmp_path / "foreign.npz", mu=np.zeros(48), sigma=np.eye(48))
    answer = metrics(str(tmp_path / "foreign.npz"), folders[1], "-m", "fid", *NETWORK)
    assert answer.exit_code == 0
    assert "does not say how it was made" in answer.stdout
