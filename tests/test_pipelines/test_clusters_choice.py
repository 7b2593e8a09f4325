"""What a user can say about where the work runs, and what is refused before anything starts."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hqdata.settings import ConfigError
from pipelines.cli_cluster import cluster_options
from pipelines.clusters.choice import ClusterChoice

KINDS = {
    "scheduler": "tcp://10.0.0.1:8786",
    "scheduler_file": Path("scheduler.json"),
    "local": "2",
    "cluster": "slurm",
}


@click.command()
@cluster_options
def show(cluster: ClusterChoice) -> None:
    click.echo(repr(cluster))


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_two_kinds_exclude_each_other(first: str, second: str):
    given = {first: KINDS[first], second: KINDS[second]}
    if first == second:
        assert ClusterChoice(**given).is_made
        return
    with pytest.raises(ConfigError, match="both say where the work runs; give one of them"):
        ClusterChoice(**given)


@pytest.mark.parametrize(("text", "size"), [("3", (3, 1)), ("4x2", (4, 2))])
def test_local_is_processes_and_threads(text: str, size: tuple[int, int]):
    assert ClusterChoice(local=text).local_size == size


@pytest.mark.parametrize("choice", [ClusterChoice(), ClusterChoice(local="0")])
def test_zero_processes_are_one_a_core(choice: ClusterChoice):
    assert choice.local_size == (len(os.sched_getaffinity(0)), 1)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"local": "2x"}, "--local wants N or NxT"),
        ({"local": "2x0"}, "--local wants N or NxT"),
        ({"local": "-1"}, "--local wants N or NxT"),
        ({"scheduler": "10.0.0.1"}, "--scheduler wants an address"),
        ({"jobs": 2}, "give --cluster too"),
        ({"cluster": "slurm", "jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"wait_workers": 0}, "--wait-workers must be at least 1"),
        ({"wait_s": 0.0}, "--wait-timeout must be more than 0"),
        ({"wait_s": float("nan")}, "--wait-timeout must be more than 0"),
        ({"tls_ca_file": Path(__file__)}, "TLS needs both --tls-ca-file and --tls-cert, got only --tls-ca-file"),
        ({"tls_ca_file": Path(__file__), "tls_cert": Path("/none")}, "--tls-cert /none: no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        ClusterChoice(**given)


def test_workers_of_the_config_are_local_processes():
    assert ClusterChoice().with_workers(3) == ClusterChoice(local="3")


def test_a_cluster_that_was_named_wins_over_workers_of_the_config():
    choice = ClusterChoice(scheduler="tcp://10.0.0.1:8786")
    assert choice.with_workers(3) is choice


def test_the_options_of_a_command_are_one_choice():
    answer = CliRunner().invoke(
        show, ["--cluster", "slurm", "--jobs", "8", "--wait-workers", "4", "--wait-timeout", "9"]
    )
    assert answer.output.strip() == repr(ClusterChoice(cluster="slurm", jobs=8, wait_workers=4, wait_s=9.0))


def test_wrong_use_of_a_real_command_is_exit_code_2():
    words = "build --source a --out b --local 2 --cluster slurm"
    answer = subprocess.run([sys.executable, "-m", "pipelines.cli", *words.split()], capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr == "hqdata: --local and --cluster both say where the work runs; give one of them\n"


def test_no_option_is_the_choice_that_says_nothing():
    assert CliRunner().invoke(show, []).output.strip() == repr(ClusterChoice())
