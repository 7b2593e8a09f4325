"""How long the driver waits for what, and how much it puts up with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from dask import config as dask_config

from hqdata.settings import ConfigError, settings_from_dict

__all__ = ["Patience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times in seconds and limits, each with a default that suits tasks of a minute.

    Any of them can be set where Dask's own settings are: `hqdata: {straggler_s: 300}` in a file of ~/.config/dask, or
    DASK_HQDATA__STRAGGLER_S=300 in the environment.
    """

    straggler_s: float = 60.0
    """A task that runs longer than this, and than `straggler_factor` times the median, is started a second time."""
    straggler_factor: float = 5.0
    hung_s: float = 1800.0
    """A task that runs longer than this is told of, and again after as long: its worker may have hung for good."""
    lost_s: float = 20.0
    """How long a scheduler may be out of reach; one that is back by then is used again."""
    wait_s: float = 600.0
    """How long to wait when there is no worker left; jobs may be in a queue."""
    drain_s: float = 25.0
    """How long running tasks may go on after the first signal; SLURM kills 30 s after its SIGTERM."""
    first_failures: int = 10
    """So many tasks, and two a worker, may fail before the first one succeeds."""
    quarantined: int = 50
    """So many items, or `quarantined_share` of all if that is more, may fail."""
    quarantined_share: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: for a value that is not above 0.
        """
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ConfigError(f"hqdata.{name} in Dask's configuration must be above 0, got {value!r}")

    @classmethod
    def configured(cls) -> Patience:
        """Return the defaults with what Dask's configuration changes.

        Raises:
            ConfigError: for an unknown name or a wrong value.
        """
        given = dask_config.get("hqdata", {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"hqdata in Dask's configuration must be a table such as straggler_s: 300, got {given!r}")
        values = {name.replace("-", "_"): value for name, value in given.items()}
        return settings_from_dict(_DaskConfig, {"hqdata": values}).hqdata


@dataclass(frozen=True)
class _DaskConfig:
    """The part of Dask's configuration that is ours."""

    hqdata: Patience = field(default_factory=Patience)
