"""Threads beside the one that computes change the order of nothing and lose no error."""

import threading

import pytest

from pipelines.overlap import Overlap, threads_beside

THREADS = [0, 1, 3]


@pytest.mark.parametrize("threads", THREADS)
def test_results_come_in_the_order_of_the_items(threads: int):
    with Overlap(threads) as overlap:
        assert list(overlap.ahead(lambda item: item * item, range(20))) == [item * item for item in range(20)]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_items_are_read_ahead_than_there_are_threads(threads: int):
    begun: list[int] = []
    with Overlap(threads) as overlap:
        results = overlap.ahead(begun.append, range(20))
        next(results)
        assert len(begun) <= threads + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_work_goes_on_beside_the_caller(threads: int):
    go = threading.Event()
    with Overlap(threads) as overlap:
        overlap.behind(go.wait, 10)  # would wait for ever in the caller's thread
        go.set()
    assert go.is_set()


@pytest.mark.parametrize("threads", THREADS)
def test_what_was_put_behind_is_done_at_the_end(threads: int):
    done: list[int] = []
    with Overlap(threads) as overlap:
        for item in range(20):
            overlap.behind(done.append, item)
    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("threads", THREADS)
def test_an_error_behind_is_raised(threads: int):
    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), Overlap(threads) as overlap:
        overlap.behind(fail)


@pytest.mark.parametrize("threads", THREADS)
def test_an_error_ahead_is_raised_at_its_place(threads: int):
    with Overlap(threads) as overlap:
        results = overlap.ahead(lambda item: 1 / item, [1, 0])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_a_cpu_computes_in_turn_and_a_gpu_gets_help():
    assert threads_beside("cpu") == 0
    assert threads_beside("cuda") > 0


def test_only_a_few_pictures_wait_to_be_written():
    gate = threading.Event()
    with Overlap(1) as overlap:
        overlap.behind(gate.wait)
        overlap.behind(gate.wait)
        threading.Timer(0.1, gate.set).start()
        overlap.behind(int)
        assert gate.is_set()
