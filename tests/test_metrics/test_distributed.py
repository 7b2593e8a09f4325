"""Two processes give the numbers of one: run for real, over gloo."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from metrics.distributed import all_reduce_moments, gather_rows
from metrics.frechet import fid, frechet_distance
from metrics.moments import Moments

WIDTH = 300
SHARES = (700, 430)
"""Rows of each process."""
PATIENCE_S = 60


def rows_of(what: int) -> torch.Tensor:
    """Return the rows that both processes see together, with a mean far from 0."""
    return torch.from_numpy(np.random.default_rng(what).normal(5, 1 + what, (sum(SHARES), WIDTH)))


def moments_of(rows: torch.Tensor) -> Moments:
    moments = Moments(rows.shape[1])
    moments.update(rows)
    return moments


def refusal(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "not refused"


def process(rank: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=PATIENCE_S)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=patience)
    bounds = ((0, SHARES[0]), (SHARES[0], sum(SHARES)))[rank]
    reference, generated = (moments_of(rows_of(what)[slice(*bounds)]) for what in (0, 1))
    answers = {
        "reference": all_reduce_moments(reference).state_dict(),
        "generated": all_reduce_moments(generated).state_dict(),
        "unchanged": reference.count,
        "one empty": all_reduce_moments(reference if rank else Moments(WIDTH)).state_dict(),
        "all empty": all_reduce_moments(Moments(WIDTH)).count,
        "rows": gather_rows(rows_of(0)[slice(*bounds)].float()),
        "pictures": gather_rows(torch.full((rank, 3, 2, 2), 7, dtype=torch.uint8)),
        "no rows": gather_rows(torch.zeros(0, 5)),
        "widths differ": refusal(lambda: all_reduce_moments(Moments(3 + rank))),
        "dtypes differ": refusal(lambda: gather_rows(torch.zeros(2, 5, dtype=(torch.float32, torch.float64)[rank]))),
    }
    torch.save(answers, f"{out}.{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    context = mp.spawn(process, args=(str(folder / "meeting"), str(folder / "out")), nprocs=2, join=False)
    assert context is not None
    try:
        deadline = datetime.datetime.now() + datetime.timedelta(seconds=2 * PATIENCE_S)
        while not context.join(timeout=1):
            assert datetime.datetime.now() < deadline, "the processes did not finish"
    finally:
        for worker in context.processes:
            worker.kill()
    return [torch.load(folder / f"out.{rank}", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("name", "what"), [("reference", 0), ("generated", 1)])
def test_two_processes_have_the_moments_of_one(answers: list[dict], rank: int, name: str, what: int):
    found, whole = Moments.from_state_dict(answers[rank][name]), moments_of(rows_of(what))
    assert found.count == whole.count
    assert torch.allclose(found.mean, whole.mean, rtol=0, atol=1e-12)
    assert torch.allclose(found.covariance(), whole.covariance(), rtol=0, atol=1e-12)


def test_two_processes_have_the_distance_of_one(answers: list[dict]):
    a, b = (Moments.from_state_dict(answers[0][name]) for name in ("reference", "generated"))
    alone = fid(reference=rows_of(0), generated=rows_of(1))
    assert frechet_distance(a.mean, a.covariance(), b.mean, b.covariance()) == pytest.approx(alone, abs=1e-10)


@pytest.mark.parametrize("name", ["mean", "scatter"])
def test_both_processes_have_the_same_bits(answers: list[dict], name: str):
    assert torch.equal(answers[0]["reference"][name], answers[1]["reference"][name])


def test_a_processs_own_moments_stay(answers: list[dict]):
    assert [answer["unchanged"] for answer in answers] == list(SHARES)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_without_pictures_takes_part(answers: list[dict], rank: int):
    found, whole = Moments.from_state_dict(answers[rank]["one empty"]), moments_of(rows_of(0)[SHARES[0] :])
    assert found.count == SHARES[1]
    assert torch.allclose(found.covariance(), whole.covariance(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
def test_no_pictures_anywhere_are_no_moments(answers: list[dict], rank: int):
    assert answers[rank]["all empty"] == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_rows_are_gathered_in_the_order_of_the_ranks(answers: list[dict], rank: int):
    assert torch.equal(answers[rank]["rows"], rows_of(0).float())


@pytest.mark.parametrize("rank", [0, 1])
def test_any_kind_of_rows_is_gathered(answers: list[dict], rank: int):
    assert torch.equal(answers[rank]["pictures"], torch.full((1, 3, 2, 2), 7, dtype=torch.uint8))
    assert answers[rank]["no rows"].shape == (0, 5)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("name", "message"), [("widths differ", "got [3, 4]"), ("dtypes differ", "torch.float64")])
def test_what_differs_is_refused_by_every_process(answers: list[dict], rank: int, name: str, message: str):
    assert message in answers[rank][name]


def test_without_a_process_group_the_remedy_is_told():
    with pytest.raises(ValueError, match="init_process_group first"):
        all_reduce_moments(Moments(3))
