import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan.streams import stream

KEY = {"seed": 3, "purpose": "latents", "images": 4096, "attempt": 0}


@given(seed=st.integers(0, 2**63), images=st.integers(0, 20_000_000), attempt=st.integers(0, 9))
def test_the_same_key_draws_the_same_numbers(seed: int, images: int, attempt: int):
    first, second = (stream(seed, "latents", images, attempt) for _ in range(2))
    assert torch.equal(torch.randn(7, generator=first), torch.randn(7, generator=second))


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"purpose": "shares"}, {"images": 4097}, {"attempt": 1}],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_key_makes_another_stream(change: dict):
    one, other = (torch.randn(64, generator=stream(**key)) for key in (KEY, {**KEY, **change}))
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.5


def test_keys_that_read_alike_are_not_the_same():
    drawn = [
        torch.randn(8, generator=stream(1, "a", 23)),
        torch.randn(8, generator=stream(1, "a", 2, 3)),
        torch.randn(8, generator=stream(11, "a", 23)),
    ]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(drawn, 2))


def test_what_others_draw_changes_nothing():
    before = torch.randn(5, generator=stream(**KEY))
    torch.manual_seed(99)
    torch.randn(1000)
    assert torch.equal(torch.randn(5, generator=stream(**KEY)), before)


def test_the_seed_of_a_key_stays_the_same_from_version_to_version():
    """Or a resumed training would not be the one that was begun."""
    assert stream(0, "latents", 0).initial_seed() == 2_688_852_775_828_046_793
