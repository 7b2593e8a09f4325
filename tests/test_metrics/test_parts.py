"""A pass cut into stretches is the whole pass, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_features import noise_pictures, small_extractor

from metrics import gathering
from metrics.evaluation import evaluate
from metrics.extraction import Pass
from metrics.gathering import PairGatherer
from metrics.parts import DamagedPart, OtherNetwork, add_part, gather_part, load_part, save_part
from metrics.report import Report
from metrics.sources.batches import MixedBatch, SizeGroup
from metrics.sources.opening import open_source

BATCH = 4
REFERENCE, GENERATED = noise_pictures(2, 24, side=16), noise_pictures(3, 21, side=16, channels=1)


class PassesInParts:
    """Makes every stretch's part as a process of its own would, the last one first."""

    def __init__(self, length: int, folder: Path):
        self.device = "cpu"
        self._length = length
        self._folder = folder

    def one_pass(self, source, gatherers, *, batch_size, progress) -> Pass:
        identities = {gatherer.part: gatherer.identity() for gatherer in gatherers}
        starts = range(0, len(source), self._length)
        for start in reversed(starts):
            stretch = source.stretch(start, min(start + self._length, len(source)))
            arrays = gather_part(
                stretch,
                identities,
                {"features": small_extractor()},
                count=len(source),
                batch_size=batch_size,
                device="cpu",
            )
            save_part(self._folder / f"{start}", arrays)
        fresh = open_source({"reference": REFERENCE, "generated": GENERATED}[source.name], name=source.name)
        source._pictures = fresh._pictures  # what another process noticed, this one has not
        for start in starts:
            add_part(source, gatherers, load_part(self._folder / f"{start}"))
        return Pass(count=len(source), batch_size=batch_size, seconds={"elsewhere": 1.0})


def measured(passes=None) -> Report:
    sets = {
        name: open_source(pictures, name=name)
        for name, pictures in (("reference", REFERENCE), ("generated", GENERATED))
    }
    report = evaluate(**sets, extractor=small_extractor(), cache=None, batch_size=BATCH, passes=passes)
    return replace(report, seconds={}, images_per_s=0.0)


@pytest.mark.parametrize("length", [4, 8, 20, 24])
def test_stretches_of_whole_batches_give_the_report_of_one_pass(tmp_path: Path, length: int):
    whole = measured()
    assert measured(PassesInParts(length, tmp_path)) == whole
    assert {figure.metric for figure in whole.figures} >= {"fid", "kid", "is", "prdc", "swd", "ms_ssim"}
    assert any("grey" in warning for warning in whole.warnings)


@pytest.fixture
def part() -> dict[str, np.ndarray]:
    source = open_source(REFERENCE)
    identity = {"features": gathering.RowGatherer("features", small_extractor()).identity()}
    return gather_part(source, identity, {"features": small_extractor()}, count=24, batch_size=BATCH, device="cpu")


def test_a_part_comes_back_from_its_file(part: dict[str, np.ndarray], tmp_path: Path):
    save_part(tmp_path / "part", part)
    found = load_part(tmp_path / "part")
    assert found.keys() == part.keys()
    assert all(np.array_equal(found[name], part[name]) for name in part)


@pytest.mark.parametrize("place", [0, 40, 1000, -300, -30])
def test_a_damaged_part_is_noticed(part: dict[str, np.ndarray], tmp_path: Path, place: int):
    save_part(tmp_path / "part", part)
    data = bytearray((tmp_path / "part").read_bytes())
    data[place] ^= 0x55
    (tmp_path / "part").write_bytes(data)
    with pytest.raises(DamagedPart, match="part"):
        load_part(tmp_path / "part")


def test_a_part_that_is_cut_off_is_noticed(part: dict[str, np.ndarray], tmp_path: Path):
    save_part(tmp_path / "part", part)
    (tmp_path / "part").write_bytes((tmp_path / "part").read_bytes()[:-10])
    with pytest.raises(DamagedPart, match="part"):
        load_part(tmp_path / "part")


def test_another_network_is_refused():
    identity = {**gathering.RowGatherer("features", small_extractor()).identity(), "sha256": "0" * 64}
    with pytest.raises(OtherNetwork, match="is asked for"):
        gather_part(
            open_source(REFERENCE),
            {"features": identity},
            {"features": small_extractor()},
            count=24,
            batch_size=BATCH,
            device="cpu",
        )


def gathered_pairs(first: int, last: int, of: int | None = None) -> PairGatherer:
    gatherer = PairGatherer(seed=3, of=of)
    images = torch.from_numpy(REFERENCE[first:last])
    group = SizeGroup(images=images, places=tuple(range(last - first)))
    gatherer.add(MixedBatch(groups=(group,), first_index=first))
    return gatherer


def test_a_part_holds_no_picture_that_the_whole_set_will_not_keep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gathering, "KEPT_BYTES", 10 * REFERENCE[0].size)
    parts = [gathered_pairs(first, first + 8, of=24).part_arrays() for first in (0, 8, 16)]
    together = PairGatherer(seed=3)
    for arrays in parts:
        together.add_part(arrays)
    assert sum(len(arrays["indices"]) for arrays in parts) == 10
    assert together.diversity() == gathered_pairs(0, 24).diversity()
