"""Kinds of clusters by name and by file: the real class, with what a build wants of it and the user's own words."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import dask_jobqueue
import distributed
import pytest
from dask import config
from distributed import LocalCluster

from hqdata.settings import ConfigError
from pipelines.cli import build
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.clusters.arguments import completed_arguments
from pipelines.clusters.defaults import SETTINGS, environment
from pipelines.clusters.description import KINDS, describe_cluster
from pipelines.clusters.named import load_class

OF_CLUSTER = ("silence_logs", "scheduler_options")
"""Arguments that dask_jobqueue takes for the cluster, not for its jobs."""
ENVIRON = "distributed.nanny.pre-spawn-environ"
SLURM = """\
class = "slurm"
[kwargs]
cores = 4
memory = "16GB"
walltime = "04:00:00"
queue = "long"
[scale]
jobs = 3
"""


def write(folder: Path, text: str, name: str = "cluster.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def job_script(name: str, tmp_path: Path) -> str:
    description = describe_cluster(name)
    make = load_class(description)
    arguments = completed_arguments(description, ClusterChoice(cluster=name), scratch=tmp_path)
    job = make.job_cls("tcp://10.0.0.1:8786", name="w", **{k: v for k, v in arguments.items() if k not in OF_CLUSTER})
    return job.job_script()


@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("slurm", dask_jobqueue.SLURMCluster),
        ("pbs", dask_jobqueue.PBSCluster),
        ("lsf", dask_jobqueue.LSFCluster),
        ("sge", dask_jobqueue.SGECluster),
        ("local", distributed.LocalCluster),
    ],
)
def test_a_name_is_the_real_class(name: str, real: Any):
    assert load_class(describe_cluster(name)) is real


def test_ssh_is_dask_s_own_class_and_needs_a_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "asyncssh", types.ModuleType("asyncssh"))
    assert load_class(describe_cluster("ssh")) is distributed.SSHCluster


@pytest.mark.parametrize(
    ("name", "module", "attribute"),
    [("cuda", "dask_cuda", "LocalCUDACluster"), ("kubernetes", "dask_kubernetes.operator", "KubeCluster")],
)
def test_a_name_is_imported_from_its_package(monkeypatch: pytest.MonkeyPatch, name: str, module: str, attribute: str):
    fake = types.ModuleType(module)
    real = type(attribute, (), {})
    setattr(fake, attribute, real)
    for part in {module, module.split(".")[0]}:
        monkeypatch.setitem(sys.modules, part, fake)
    assert load_class(describe_cluster(name)) is real


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("slurm", "dask_jobqueue", "jobqueue"),
        ("ssh", "asyncssh", "ssh"),
        ("cuda", "dask_cuda", "cuda"),
        ("kubernetes", "dask_kubernetes", "kubernetes"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"--cluster {name} needs .*progan-hq\[{extra}\]"):
        load_class(describe_cluster(name))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('class = "slrum"', "unknown 'slrum'; did you mean 'slurm'"),
        ('clas = "slurm"', "unknown 'clas'; did you mean 'class'"),
        ('class = "slurm"\nscales = {jobs = 1}', "unknown 'scales'; did you mean 'scale'"),
        ('class = "slurm"\nscale = {job = 1}', "scale: unknown 'job'; did you mean 'jobs'"),
        ('class = "slurm"\nadapt = {minimun = 1}', "adapt: unknown 'minimun'; did you mean 'minimum'"),
        ('class = "slurm"\nscale = {jobs = 0}', "scale.jobs must be a whole number of at least 1, got 0"),
        ('class = "slurm"\nscale = {jobs = 1}\nadapt = {maximum = 2}', "keep one"),
        ('class = "slurm"\nscale = {jobs = 1, n = 2}', "keep one"),
        ('class = "cuda"\nscale = {jobs = 1}', "scale.jobs is for batch systems"),
        ('class = "slurm"\nkwargs = 3', "kwargs must be a table, got 3"),
        ("kwargs = {}", "class is missing"),
        ("class =", "not valid TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        describe_cluster(write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("slrum", "did you mean 'slurm'"), ("none.toml", "cannot be read")],
)
def test_an_unknown_name_and_a_missing_file_are_refused(name: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        describe_cluster(name)


def test_yaml_and_toml_say_the_same(tmp_path: Path):
    toml = describe_cluster(write(tmp_path, SLURM))
    values = {"class": "slurm", "kwargs": dict(toml.kwargs), "scale": dict(toml.scale)}
    yaml = describe_cluster(write(tmp_path, json.dumps(values), "cluster.yaml"))  # JSON is YAML
    assert (yaml.path, yaml.kwargs, yaml.scale) == (toml.path, toml.kwargs, toml.scale)


def test_a_walltime_that_yaml_read_as_a_number_is_refused(tmp_path: Path):
    text = "class: slurm\nkwargs: {cores: 1, memory: 2GB, walltime: 10:00:00}"
    with pytest.raises(ConfigError, match="write walltime in quotes"):
        describe_cluster(write(tmp_path, text, "cluster.yaml"))


def test_the_class_can_be_an_import_path(tmp_path: Path):
    description = describe_cluster(write(tmp_path, 'class = "dask_jobqueue.HTCondorCluster"'))
    assert load_class(description) is dask_jobqueue.HTCondorCluster


def test_a_class_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="dask_jobqueue has no Condor"):
        load_class(describe_cluster(write(tmp_path, 'class = "dask_jobqueue.Condor"')))


def test_a_slurm_job_runs_single_threads_ends_before_its_walltime_and_has_our_settings(tmp_path: Path):
    script = job_script(write(tmp_path, SLURM), tmp_path)
    assert "#SBATCH -p long\n" in script
    assert "#SBATCH -t 04:00:00\n" in script
    assert "#SBATCH --cpus-per-task=4\n" in script
    assert "--nthreads 1 --memory-limit 3.73GiB --nworkers 4 --nanny" in script
    assert '--local-directory "${TMPDIR:-/tmp}" --lifetime 13200s --lifetime-stagger 600s' in script
    assert "export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0\n" in script


def test_the_user_s_own_words_stand(tmp_path: Path):
    own = 'processes = 2\nlocal_directory = "/nvme"\nworker_extra_args = ["--lifetime", "1h"]\n'
    script = job_script(write(tmp_path, SLURM.replace("[scale]", own + "[scale]")), tmp_path)
    assert "--nthreads 2" in script
    assert "--local-directory /nvme --lifetime 1h\n" in script


def test_a_pbs_job_has_our_settings_too(tmp_path: Path):
    text = 'class = "pbs"\nkwargs = {cores = 2, memory = "8GB", walltime = "01:00:00"}'
    script = job_script(write(tmp_path, text), tmp_path)
    assert "#PBS -l walltime=01:00:00\n" in script
    assert "--lifetime 2880s --lifetime-stagger 360s" in script


def test_an_lsf_walltime_of_hours_and_minutes_is_left_alone(tmp_path: Path):
    text = 'class = "lsf"\nkwargs = {cores = 2, memory = "8GB", walltime = "01:00", use_stdin = true}'
    assert "--lifetime" not in job_script(write(tmp_path, text), tmp_path)


def test_further_dask_settings_reach_the_jobs(tmp_path: Path):
    text = SLURM + '[config.distributed.worker.memory]\npause = 0.7\n[config.distributed.comm]\n"retry.count" = 9\n'
    script = job_script(write(tmp_path, text), tmp_path)
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.7\n" in script
    assert "export DASK_DISTRIBUTED__COMM__RETRY__COUNT=9\n" in script


def test_ssh_needs_its_hosts():
    with pytest.raises(ConfigError, match=r"ssh needs kwargs\.hosts in a file"):
        completed_arguments(describe_cluster("ssh"), ClusterChoice(cluster="ssh"), scratch=Path("/none"))


def test_ssh_starts_single_threads(tmp_path: Path):
    name = write(tmp_path, 'class = "ssh"\nkwargs = {hosts = ["a", "b"]}')
    arguments = completed_arguments(describe_cluster(name), ClusterChoice(cluster=name), scratch=tmp_path)
    assert arguments == {"hosts": ["a", "b"], "worker_options": {"nthreads": 1}}


@pytest.mark.parametrize("name", ["ssh", "kubernetes"])
def test_tls_files_that_would_not_arrive_are_refused(tmp_path: Path, name: str):
    (tmp_path / "cert.pem").touch()
    choice = ClusterChoice(cluster=name, tls_ca_file=tmp_path / "cert.pem", tls_cert=tmp_path / "cert.pem")
    with pytest.raises(ConfigError, match=rf"--cluster {name} takes no --tls-\* files"):
        completed_arguments(describe_cluster(name), choice, scratch=tmp_path)


def test_ssh_does_not_grow(tmp_path: Path):
    name = write(tmp_path, 'class = "ssh"\nkwargs = {hosts = ["a", "b"]}')
    with pytest.raises(ConfigError, match="leave out --jobs"):
        completed_arguments(describe_cluster(name), ClusterChoice(cluster=name, jobs=2), scratch=tmp_path)


def test_gpus_of_this_machine_get_a_process_each_and_local_scratch(tmp_path: Path):
    choice = ClusterChoice(cluster="cuda", jobs=2)
    arguments = completed_arguments(describe_cluster("cuda"), choice, scratch=tmp_path / "scratch")
    assert (arguments["n_workers"], arguments["threads_per_worker"]) == (2, 1)
    assert arguments["local_directory"] == str(tmp_path / "scratch")
    assert arguments["host"] == "127.0.0.1"


@pytest.mark.parametrize("env", ['{A = "1"}', '[{name = "A", value = "1"}]'])
def test_pods_get_our_settings_beside_their_own(tmp_path: Path, env: str):
    name = write(tmp_path, f'class = "kubernetes"\nkwargs = {{image = "ours:1", env = {env}}}')
    arguments = completed_arguments(describe_cluster(name), ClusterChoice(cluster=name), scratch=tmp_path)
    given = arguments["env"]
    named = given if isinstance(given, dict) else {entry["name"]: entry["value"] for entry in given}
    assert named == {**environment(), "A": "1"}
    assert arguments["image"] == "ours:1"
    assert arguments["worker_command"] == ["dask-worker", "--nthreads", "1"]


def test_a_pod_runs_what_dask_was_configured_to_run(tmp_path: Path):
    name = write(tmp_path, 'class = "kubernetes"\nconfig = {"kubernetes.worker-command" = "ours"}')
    description = describe_cluster(name)
    with config.set(dict(description.config)):  # as open_cluster does
        arguments = completed_arguments(description, ClusterChoice(cluster=name), scratch=tmp_path)
    assert "worker_command" not in arguments


def test_every_setting_is_one_that_dask_knows():
    assert {key: config.get(key, "unknown") for key in SETTINGS if config.get(key, "unknown") == "unknown"} == {}


def test_settings_survive_the_environment():
    read = config.collect_env(environment())
    known = config.merge(*config.collect_yaml([str(Path(distributed.__file__).parent)]), read)
    assert {key: config.get(key, config=known) for key in SETTINGS} | {ENVIRON: {}} == SETTINGS | {ENVIRON: {}}
    assert SETTINGS[ENVIRON].items() <= config.get(ENVIRON, config=known).items()


class FakeBatchCluster(LocalCluster):
    """A batch system's cluster whose jobs are threads of this process."""

    made: list[dict[str, Any]] = []  # noqa: RUF012 -- emptied by the fixture
    scaled: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        self.made.append(kwargs)
        super().__init__(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", threads_per_worker=1)

    def scale(self, n: int = 0, jobs: int = 0) -> None:
        self.scaled.append({"n": n, "jobs": jobs})
        super().scale(n or jobs)

    def adapt(self, **kwargs: Any) -> None:
        self.scaled.append(kwargs)
        super().scale(1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeBatchCluster]:
    FakeBatchCluster.made.clear()
    FakeBatchCluster.scaled.clear()
    monkeypatch.setattr(dask_jobqueue, "SLURMCluster", FakeBatchCluster)
    return FakeBatchCluster


@pytest.mark.dask
@pytest.mark.parametrize(("jobs", "size"), [(None, 3), (2, 2)])
def test_a_cluster_is_brought_to_its_size(tmp_path: Path, fake: type[FakeBatchCluster], jobs: int | None, size: int):
    choice = ClusterChoice(cluster=write(tmp_path, SLURM), jobs=jobs, wait_workers=size)
    with open_cluster(choice, scratch=tmp_path) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == size
    assert fake.made[0]["queue"] == "long"
    assert fake.scaled[0]["jobs"] == size


@pytest.mark.dask
def test_adapting_is_calm(tmp_path: Path, fake: type[FakeBatchCluster]):
    text = SLURM[: SLURM.index("[scale]")] + "[adapt]\nmaximum = 9\n"
    with open_cluster(ClusterChoice(cluster=write(tmp_path, text)), scratch=tmp_path):
        assert fake.scaled[0] == {"interval": "30s", "wait_count": 60, "minimum": 1, "maximum": 9}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a Cluster.__del__ before its time
def test_a_batch_system_without_cores_is_told_where_they_stand(tmp_path: Path):
    with (
        pytest.raises(ConfigError, match=r"how much cores and memory .* use; they stand under \[kwargs\]"),
        open_cluster(ClusterChoice(cluster="pbs"), scratch=tmp_path),
    ):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a Cluster.__del__ before its time
def test_kwargs_that_the_class_refuses_are_the_user_s_mistake(tmp_path: Path):
    name = write(tmp_path, 'class = "slurm"\nkwargs = {cores = 2, memory = "8GB", quene = "long"}')
    with (
        pytest.raises(ConfigError, match=r"SLURMCluster refuses its kwargs: .*quene"),
        open_cluster(ClusterChoice(cluster=name), scratch=tmp_path),
    ):
        pass


def test_the_help_of_the_option_names_every_kind():
    (option,) = [option for option in build.params if option.name == "cluster"]
    assert [name for name in KINDS if name != "local" and name not in str(option.help)] == []
