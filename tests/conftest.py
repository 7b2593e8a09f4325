"""One thread per test process: more are slower where cores are shared, and results must not depend on the count."""

import logging
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import pytest
import torch
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.register_profile("searching", print_blob=True)
# the same examples each time; HYPOTHESIS_PROFILE=searching looks for new ones
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

torch.set_num_threads(1)
cv2.setNumThreads(1)


def pytest_runtest_logstart() -> None:
    """Let Dask's loggers propagate: pytest hangs its handlers on the others, and a LocalCluster silences them."""
    for name in ("distributed", "bokeh"):
        logging.getLogger(name).propagate = True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say so."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))
