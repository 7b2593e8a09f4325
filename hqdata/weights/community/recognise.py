"""From a foreign file to a module: finds the architecture that has such tensors, and fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hqdata.weights.community import dncnn, fbcnn, red, rrdb, srresnet, srvgg
from hqdata.weights.community.adapt import Adapted
from hqdata.weights.community.plan import Plan, Shapes
from hqdata.weights.community.spandrel_fallback import build_with_spandrel
from hqdata.weights.community.state_dict import listed, read_tensors

__all__ = ["FAMILIES", "build_module"]

FAMILIES: dict[str, Callable[[Shapes], Plan | None]] = {
    "RRDBNet": rrdb.recognise,
    "SRVGGNetCompact": srvgg.recognise,
    "MSRResNet": srresnet.recognise,
    "RED-Net": red.recognise,
    "DnCNN": dncnn.recognise,
    "FBCNN": fbcnn.recognise,
}


def build_module(path: Path, data: bytes) -> tuple[Adapted, str]:
    """Return the network in a foreign file, in [-1, 1] and eval mode, and a line that says what it is.

    Args:
        path: for messages; its suffix says how to read it.
        data: the whole file.

    Raises:
        ValueError: when the file cannot be trusted (see `read_tensors`), no architecture has such tensors, or they do
            not fit the one that has; the message names the file, the cause and what was seen.
    """
    tensors = read_tensors(path, data)
    plan = _plan(path, {name: tuple(value.shape) for name, value in tensors.items()})
    if plan is None:
        found = build_with_spandrel(path, tensors)
        if found is None:
            seen = listed([f"{name} {tuple(value.shape)}" for name, value in tensors.items()])
            raise ValueError(f"{path}: no known architecture ({', '.join(FAMILIES)}) has its tensors: {seen}")
        return Adapted(found[0]).eval(), found[1]
    return Adapted(_filled(path, plan, tensors)).eval(), plan.title


def _plan(path: Path, shapes: Shapes) -> Plan | None:
    for recognise in FAMILIES.values():
        try:
            plan = recognise(shapes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if plan is not None:
            return plan
    return None


def _filled(path: Path, plan: Plan, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the plan's module with the file's tensors; it takes memory for them only once all fit."""
    with torch.device("meta"):
        module = plan.make()
    wanted = {name: value.shape for name, value in module.state_dict().items() if not name.endswith("_tracked")}
    lacking = sorted(wanted.keys() - set(plan.names.values()))
    strange = sorted(old for old, new in plan.names.items() if new not in wanted)
    if lacking or strange or len(set(plan.names.values())) != len(plan.names):
        causes = [f"lacks {listed(lacking)}"] * bool(lacking) + [f"has {listed(strange)} besides"] * bool(strange)
        raise ValueError(f"{path}: looks like {plan.title}, but {' and '.join(causes) or 'names a tensor twice'}")
    for old, new in plan.names.items():
        if tensors[old].shape != wanted[new]:
            raise ValueError(
                f"{path}: looks like {plan.title}, but {old} has shape {tuple(tensors[old].shape)} where"
                f" {tuple(wanted[new])} is needed"
            )
    values = {new: tensors[old] for old, new in plan.names.items()}
    module.load_state_dict(values | _counters(module), assign=True)
    return module


def _counters(module: nn.Module) -> dict[str, Tensor]:
    """Return batch normalisation's counters, which inference does not use."""
    return {name: torch.tensor(0) for name in module.state_dict() if name.endswith("num_batches_tracked")}
