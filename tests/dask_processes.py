"""A scheduler and workers as real processes, each with an environment of its own, as on the machines of a cluster."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

START_S = 60.0
WITHOUT_OURS = {"PYTHONPATH": next(path for path in sys.path if path.endswith("site-packages"))}
"""An environment with the installed libraries but no package of ours."""


@contextmanager
def scheduler(folder: Path, added: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the address of a scheduler with what its environment adds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    words = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with _process(["-m", *words, "--scheduler-file", str(file)], folder, added or {}):
        yield _address_in(file)


@contextmanager
def workers(address: str, folder: Path, environments: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Start one worker without nanny for each name, in a folder of that name, with what its environment adds."""
    with ExitStack() as stack:
        for name, added in environments.items():
            home = folder / name
            home.mkdir(parents=True, exist_ok=True)
            words = ["-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--name", name]
            stack.enter_context(_process([*words, "--no-dashboard", "--local-directory", str(home)], home, added))
        yield


@contextmanager
def _process(words: list[str], folder: Path, added: Mapping[str, str]) -> Iterator[None]:
    # without `site`, the file that makes an editable install importable is not read
    program = [sys.executable, *(["-S"] if added == WITHOUT_OURS else [])]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([*program, *words], cwd=folder, env={**os.environ, **added}, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _address_in(file: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if file.exists():
            return json.loads(file.read_text())["address"]
        time.sleep(0.05)
    raise TimeoutError(f"{file} did not appear; see {file.parent / 'log.txt'}")
