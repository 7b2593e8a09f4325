"""What a build wants of each kind of cluster where its user says nothing: one thread a process, node-local scratch.

Whatever the user's file or Dask's own configuration says stands.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dask import config as dask_config

from hqdata.settings import ConfigError
from pipelines.clusters.choice import ClusterChoice
from pipelines.clusters.defaults import environment
from pipelines.clusters.description import KINDS, ClusterDescription
from pipelines.clusters.security import security_of
from pipelines.clusters.walltime import lifetime_within, walltime_seconds

__all__ = ["completed_arguments"]

NODE_SCRATCH = '"${TMPDIR:-/tmp}"'
"""Expanded by the job's own shell, on the node that runs it."""
POD_COMMAND = "dask-worker"
"""What dask-kubernetes runs where nobody says otherwise: a thread for each core of the pod."""


def completed_arguments(description: ClusterDescription, choice: ClusterChoice, *, scratch: Path) -> dict[str, Any]:
    """Return the keyword arguments for the class of a description.

    Raises:
        ConfigError: if something is missing that only the user knows, or TLS was asked of a kind that takes none.
    """
    given = dict(description.kwargs)
    takes_no_files = description.family == "dask_kubernetes" or description.path == KINDS["ssh"]
    if choice.tls_ca_file is not None and takes_no_files:
        raise ConfigError(f"{description.origin} takes no --tls-* files; docs/clusters.md says how to encrypt it")
    security = security_of(choice)
    if security is not None:
        given.setdefault("security", security)
    if description.family == "dask_jobqueue":
        return _of_job_queue(given, description)
    if description.family == "dask_kubernetes":
        return _of_kubernetes(given, environment(description.config))
    if description.path == KINDS["ssh"]:
        return _of_ssh(given, description, choice)
    if description.path == KINDS["local"] or description.family == "dask_cuda":
        return _of_this_machine(given, choice.jobs or description.scale.get("n"), scratch)
    return given


def _of_this_machine(given: dict[str, Any], processes: int | None, scratch: Path) -> dict[str, Any]:
    scratch.mkdir(parents=True, exist_ok=True)
    sized = {"n_workers": processes} if processes else {}
    return {
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "local_directory": str(scratch),
        "silence_logs": logging.CRITICAL,
        **given,
        **sized,
    }


def _of_ssh(given: dict[str, Any], description: ClusterDescription, choice: ClusterChoice) -> dict[str, Any]:
    if choice.jobs or description.scale:
        raise ConfigError(f"{description.origin}: its size is that of kwargs.hosts; leave out --jobs and scale")
    hosts = given.get("hosts")
    if not isinstance(hosts, list) or len(hosts) < 2:
        raise ConfigError(
            f"{description.origin}: ssh needs kwargs.hosts in a file, the scheduler's host and then each worker's,"
            f" got {hosts!r}"
        )
    return {**given, "worker_options": {"nthreads": 1, **given.get("worker_options", {})}}


def _of_kubernetes(given: dict[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"n_workers": 0, "quiet": True}
    if dask_config.get("kubernetes.worker-command", POD_COMMAND) == POD_COMMAND:
        defaults["worker_command"] = [POD_COMMAND, "--nthreads", "1"]
    env = given.get("env") or {}
    if isinstance(env, list):  # of {"name": ..., "value": ...}, as Kubernetes itself writes them
        named = {entry["name"] for entry in env}
        added = [{"name": name, "value": value} for name, value in settings.items() if name not in named]
        return {**defaults, **given, "env": [*added, *env]}
    return {**defaults, **given, "env": {**settings, **env}}


def _of_job_queue(given: dict[str, Any], description: ClusterDescription) -> dict[str, Any]:
    section = _configured(given.get("config_name") or _config_name(description))
    cores = given.get("cores") or section.get("cores")
    defaults: dict[str, Any] = {"silence_logs": logging.CRITICAL}
    if cores and not section.get("processes"):
        defaults["processes"] = int(cores)
    if not section.get("local-directory"):
        defaults["local_directory"] = NODE_SCRATCH
    if not section.get("scheduler-options"):
        defaults["scheduler_options"] = {"dashboard_address": "127.0.0.1:0"}
    prologue = given.get("job_script_prologue") or section.get("job-script-prologue") or []
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment(description.config).items()]
    words = list(given.get("worker_extra_args") or section.get("worker-extra-args") or [])
    return {
        **defaults,
        **given,
        "job_script_prologue": [*exports, *prologue],
        "worker_extra_args": [*words, *_lifetime_words(words, given.get("walltime") or section.get("walltime"))],
    }


def _lifetime_words(words: list[str], walltime: str | None) -> list[str]:
    """Return `--lifetime` and its stagger where the walltime is one that SLURM and PBS would read alike."""
    if any(str(word).startswith("--lifetime") for word in words) or str(walltime).count(":") != 2:
        return []
    lifetime = lifetime_within(walltime_seconds(str(walltime)))
    return ["--lifetime", f"{lifetime.seconds}s", "--lifetime-stagger", f"{lifetime.stagger_s}s"]


def _config_name(description: ClusterDescription) -> str:
    return description.path.split(".")[-1].removesuffix("Cluster").lower()


def _configured(name: str) -> Mapping[str, Any]:
    """Return dask-jobqueue's own settings for a batch system; it must have been imported."""
    return dask_config.get(f"jobqueue.{name}", None) or {}
