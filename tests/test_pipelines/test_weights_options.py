"""A build takes other people's weights, knows them by their bytes, and refuses the unusable before any work."""

import pytest
import small_networks
import torch
from click.testing import CliRunner
from small_source import write_small_celeba

from hqdata.settings import ConfigError
from hqdata.sources import open_source
from hqdata.storage import open_folder
from hqdata.weights import shipped
from pipelines import stages
from pipelines.cli import cli
from pipelines.config import load_config
from pipelines.dask_map import BuildStopped
from pipelines.job import check_weights, make_job, weights_in_use


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("celeba")
    write_small_celeba(root, num_photos=2)
    return root


def job_of(folder, tmp_path, **sections):
    config = load_config(source={"root": str(folder)}, **sections)
    return make_job(config, open_source(config.source.root, kind="celeba"), open_folder(tmp_path / "run"), "cpu")


def saved(path, name, seed=0):
    torch.save(small_networks.make(name, seed).state_dict(), path)
    return str(path)


def hqdata(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_a_foreign_file_is_known_by_its_bytes(tmp_path, folder):
    first = saved(tmp_path / "a.pth", "dncnn-luma")
    keys = [job_of(folder, tmp_path, restore={"weights": first}).score_key]
    saved(tmp_path / "a.pth", "dncnn-luma", seed=1)
    keys.append(job_of(folder, tmp_path, restore={"weights": first}).score_key)
    keys.append(job_of(folder, tmp_path).score_key)
    assert len(set(keys)) == 3


@pytest.mark.parametrize(("section", "network"), [("restore", "dncnn-luma"), ("upscale", "srvgg-x4")])
def test_a_file_that_changes_during_the_build_stops_it(tmp_path, folder, section, network):
    path = saved(tmp_path / "a.pth", network)
    job = job_of(folder, tmp_path, **{section: {"weights": path}})
    saved(tmp_path / "a.pth", network, seed=1)
    with pytest.raises(BuildStopped, match=r"a\.pth: has changed since this build began"):
        stages.score_chunk([], job, 0.0)


def test_a_worker_takes_the_weights_that_the_job_was_made_with(tmp_path, folder):
    job = job_of(folder, tmp_path, restore={"weights": saved(tmp_path / "a.pth", "dncnn-luma")})
    assert stages.score_chunk([], job, 0.0).scored == ()


@pytest.mark.parametrize(
    ("section", "name", "cause"),
    [
        ("restore", "srvgg-x4", "a restorer, which keeps the size is needed here"),
        ("upscale", "dncnn-luma", "an upscaler, which enlarges 4 times is needed here"),
    ],
)
def test_weights_for_the_other_step_are_refused_before_any_work(tmp_path, section, name, cause):
    path = saved(tmp_path / "other.pth", name)
    with pytest.raises(ConfigError, match=rf"other\.pth: holds .*{cause}"):
        check_weights(load_config(**{section: {"weights": path}}))


def test_shipped_weights_for_the_other_step_are_refused_before_any_work():
    with pytest.raises(ConfigError, match="holds a 'symmetric-autoencoder', but upscale-generator is needed"):
        check_weights(load_config(upscale={"weights": "dejpeg-small"}))


def test_weights_of_a_step_that_never_runs_are_not_opened(tmp_path, folder):
    config = load_config(source={"root": str(folder)}, restore={"weights": "none.pth", "when": "never"})
    check_weights(config)
    assert "restore" not in dict(job_of(folder, tmp_path, restore={"weights": "none.pth", "when": "never"}).weights)


def test_every_network_in_use_has_a_checksum():
    names = {"restore", "upscale"}
    assert names <= weights_in_use(load_config(), "annotations").keys()


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_hostile_file_ends_the_command_before_the_run_folder_is_made(tmp_path, folder, command):
    path = tmp_path / "evil.pth"
    torch.save(small_networks.make("srvgg-x4"), path)
    answer = hqdata(command, "--source", folder, "--out", tmp_path / "run", "--upscale-weights", path)
    assert isinstance(answer.exception, ConfigError)
    assert "evil.pth: wants to run" in str(answer.exception)
    assert not (tmp_path / "run").exists()


def test_the_list_names_every_shipped_network_with_its_reach_and_licence():
    answer = hqdata("weights")
    assert answer.exit_code == 0
    for name in shipped():
        assert f"\n{name}: " in f"\n{answer.output}"
    assert "reach 41 pixels, CC-BY-SA-4.0" in answer.output
