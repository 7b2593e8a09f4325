"""A kind of cluster to start: one of the known names, or a TOML or YAML file that says more.

class = "slurm"                  # a known name, or the import path of a class: "dask_jobqueue.HTCondorCluster"
[kwargs]                         # as the class takes them
cores = 8
memory = "32GB"
walltime = "04:00:00"
[scale]
jobs = 16                        # or n, in workers; or [adapt] with minimum and maximum
[config]                         # any Dask settings
"distributed.comm.timeouts.connect" = "120s"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hqdata.settings import ConfigError

__all__ = ["KINDS", "SIZED_AT_START", "ClusterDescription", "describe_cluster"]

KINDS = {
    "local": "distributed.LocalCluster",
    "slurm": "dask_jobqueue.SLURMCluster",
    "pbs": "dask_jobqueue.PBSCluster",
    "lsf": "dask_jobqueue.LSFCluster",
    "sge": "dask_jobqueue.SGECluster",
    "ssh": "distributed.SSHCluster",
    "cuda": "dask_cuda.LocalCUDACluster",
    "kubernetes": "dask_kubernetes.operator.KubeCluster",
}
"""Import paths by the names that --cluster takes."""
SIZED_AT_START = (KINDS["local"], KINDS["cuda"], KINDS["ssh"])
"""Those that start with all their cores, GPUs or hosts, and are not scaled afterwards."""
SUFFIXES = (".toml", ".yaml", ".yml")
KEYS = {
    "file": ("class", "kwargs", "scale", "adapt", "config"),
    "scale": ("jobs", "n"),
    "adapt": (
        "minimum",
        "maximum",
        "minimum_jobs",
        "maximum_jobs",
        "interval",
        "wait_count",
        "target_duration",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDescription:
    """What to start and how large."""

    origin: str
    """What the user gave, for error messages."""
    path: str
    """Import path of the class."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, int] = field(default_factory=dict)
    adapt: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The package that the class comes from: distributed, dask_jobqueue, dask_cuda, dask_kubernetes or another."""
        return self.path.split(".")[0]


def describe_cluster(name: str) -> ClusterDescription:
    """Return the cluster of a known name or of a TOML or YAML file.

    Raises:
        ConfigError: for an unknown name or key (naming the nearest), or a file that cannot be read.
    """
    if name in KINDS:
        return ClusterDescription(origin=f"--cluster {name}", path=KINDS[name])
    file = Path(name)
    if file.suffix not in SUFFIXES:
        nearest = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.0)[0]
        known = ", ".join(KINDS)
        raise ConfigError(
            f"--cluster {name}: neither a TOML or YAML file nor one of {known}; did you mean {nearest!r}?"
        )
    return _described(_read(file), origin=str(file))


def _described(values: Any, *, origin: str) -> ClusterDescription:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin}: must be a table with the keys {', '.join(KEYS['file'])}")
    _require_known(values, KEYS["file"], where=origin)
    if not isinstance(values.get("class"), str):
        raise ConfigError(f'{origin}: class is missing; write class = "slurm", or the import path of a class')
    tables = {key: values.get(key) or {} for key in KEYS["file"][1:]}
    for key, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"{origin}: {key} must be a table, got {table!r}")
        if key in KEYS:
            _require_known(table, KEYS[key], where=f"{origin}: {key}")
    if tables["scale"] and tables["adapt"]:
        raise ConfigError(f"{origin}: scale and adapt both say how large the cluster is; keep one")
    for key, size in tables["scale"].items():
        if type(size) is not int or size < 1:
            raise ConfigError(f"{origin}: scale.{key} must be a whole number of at least 1, got {size!r}")
    if len(tables["scale"]) > 1:
        raise ConfigError(f"{origin}: scale has both jobs and n; keep one")
    path = _import_path(values["class"], origin)
    if "jobs" in tables["scale"] and not path.startswith("dask_jobqueue."):
        raise ConfigError(f"{origin}: scale.jobs is for batch systems; write scale.n, in workers")
    if not isinstance(tables["kwargs"].get("walltime", ""), str):
        raise ConfigError(f'{origin}: YAML reads 10:00:00 as a number; write walltime in quotes, "10:00:00"')
    return ClusterDescription(origin=origin, path=path, **tables)


def _import_path(name: str, origin: str) -> str:
    if name in KINDS:
        return KINDS[name]
    if "." not in name:
        _require_known([name], tuple(KINDS), where=f"{origin}: class")
    return name


def _require_known(keys: Iterable[str], known: tuple[str, ...], *, where: str) -> None:
    for key in keys:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{where}: unknown {key!r}; did you mean {nearest!r}? Known: {', '.join(known)}")


def _read(file: Path) -> Any:
    import yaml  # comes with dask; only files of this suffix need it

    try:
        text = file.read_text()
        return tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"--cluster {file}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid {file.suffix[1:].upper()}: {error}") from error
