"""Kernel discrepancies and neighbourhoods: time against the usual programs, and memory of the largest cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from metric_sections.measure import Row, compare
from oracles.discrepancy import naive_kid

from metrics.discrepancy import cmmd, kid
from metrics.neighbours import prdc, prdc_left_out
from metrics.permutations import mmd_test

__all__ = ["rows"]


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the table's lines; the largest cases only when there is time."""
    yield _kid_subsets(500, 20, 100) if quick else _kid_subsets(2000, 100, 1000)
    if not quick:
        yield _kid_subsets(10_000, 100, 1000)
    yield _neighbours(500, 256) if quick else _neighbours(2000, 2048)
    count = 1000 if quick else 10_000
    yield _bounded(f"KID of all pairs, {count:,} x {count:,} x 2048", "kid", count, 2048)
    yield _bounded(f"CMMD, {count:,} x {count:,} x 768", "cmmd", count, 768)
    yield _bounded(f"PRDC, {count:,} x {count:,} x 2048", "prdc", count, 2048)
    yield _bounded(f"PRDC with all left-out values, {count:,} x {count:,} x 2048", "prdc_left_out", count, 2048)
    yield _bounded(f"MMD test, 1,000 permutations, {count:,} + {count:,} x 256", "mmd_test", count, 256)
    if not quick:
        yield _bounded("CMMD, 30,000 x 30,000 x 768", "cmmd", 30_000, 768)


def _pair(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference, generated = (rng.standard_normal((count, width), dtype=np.float32) for _ in range(2))
    return reference, generated * 0.95 + 0.05


def _kid_subsets(count: int, subsets: int, size: int) -> Row:
    reference, generated = _pair(count, 2048)
    found: dict[str, float] = {}

    def ours() -> None:
        found["ours"] = kid(reference=reference, generated=generated, subsets=subsets, subset_size=size, seed=2020)[0]

    def theirs() -> None:
        found["theirs"] = naive_kid(reference, generated, subsets=subsets, size=size, seed=2020)[0]

    row = compare(
        f"KID, {subsets} subsets of {size:,}, {count:,} + {count:,} x 2048",
        ours=ours,
        theirs=theirs,
        whose="numpy float32, a subset at a time",
        turns=1,
    )
    return _noted(row, f"ours in float64; difference {abs(found['ours'] - found['theirs']):.1e} of {found['ours']:.3g}")


def _neighbours(count: int, width: int) -> Row:
    reference, generated = _pair(count, width)
    return compare(
        f"PRDC, {count:,} + {count:,} x {width}",
        ours=lambda: prdc(reference=reference, generated=generated),
        theirs=lambda: _whole_matrices(reference.astype(np.float64), generated.astype(np.float64)),
        whose="numpy float64, whole matrices",
    )


def _whole_matrices(reference: np.ndarray, generated: np.ndarray, k: int = 5) -> tuple[float, ...]:
    """Return PRDC as it is usually programmed; its products do not decide ties."""
    within = [np.partition(_squares(rows, rows), k, axis=1)[:, k] for rows in (reference, generated)]
    across = _squares(reference, generated)
    inside, recalled = across < within[0][:, None], across < within[1]
    density = inside.sum() / (k * len(generated))
    return float(inside.any(0).mean()), float(recalled.any(1).mean()), float(density), float(inside.any(1).mean())


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T


MEASURES: dict[str, Callable[..., object]] = {
    "kid": lambda **sets: kid(**sets, estimator="full"),
    "cmmd": cmmd,
    "prdc": prdc,
    "prdc_left_out": lambda **sets: prdc_left_out(**sets).value,
    "mmd_test": mmd_test,
}


def _bounded(what: str, name: str, count: int, width: int) -> Row:
    """Return the time of one run in a process of its own, and by how much its peak memory exceeds its rows."""
    command = [sys.executable, __file__, name, str(count), str(width)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, grown, value = json.loads(answer.stdout)
    given, matrix = 2 * count * width * 4, 8 * count * count
    note = f"peak {grown >> 20:,} MB over {given >> 20:,} MB of rows; one matrix has {matrix >> 20:,} MB; {value}"
    return Row(what=what, ours_s=seconds, theirs="", theirs_s=None, ratio=None, note=note)


def _measured(measure: Callable[..., object], count: int, width: int) -> tuple[float, int, str]:
    reference, generated = _pair(count, width)
    measure(reference=reference[:100], generated=generated[:100])
    before = _peak_bytes()
    start = time.process_time()
    value = measure(reference=reference, generated=generated)
    seconds = time.process_time() - start
    return seconds, _peak_bytes() - before, str(value)


def _peak_bytes() -> int:
    """Return the greatest resident memory of this process (Linux); getrusage's is the parent's where that was more."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def _noted(row: Row, note: str) -> Row:
    return Row(what=row.what, ours_s=row.ours_s, theirs=row.theirs, theirs_s=row.theirs_s, ratio=row.ratio, note=note)


if __name__ == "__main__":
    print(json.dumps(_measured(MEASURES[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3]))))
