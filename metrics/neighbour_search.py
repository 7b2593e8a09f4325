"""Balls around rows of features, as far as their k-th neighbour, and which points lie inside: blockwise and exact.

A float32 matrix product with a proven error bound sorts out all that is clear; only the pairs that it cannot decide are
measured in float64 (`metrics.distances.exact_distances`), so that equal distances compare as equal. No matrix of all
pairs is ever held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from metrics.distances import exact_distances

__all__ = ["Balls", "Hits", "ball_hits", "ball_radii"]

SPARE = 8
"""Candidates kept beyond the k nearest: near ties of the float32 search, and neighbours that a left-out group takes."""
PAIR_BYTES = 64 << 20
"""Memory for rows gathered pair by pair, or for whole rows of distances."""
DIRECT_SHARE = 16
"""A block with more undecided pairs than one in so many is measured whole, which is then cheaper than pair by pair."""
TINY = 1e-30
"""Covers underflow in float32 of rows scaled to at most 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balls:
    """A set of rows as centres, with radii; and what they are without one group of rows."""

    rows: Float64[Tensor, "n d"]
    groups: Int64[Tensor, " n"]
    """Group of each row, from 0."""
    radii: Float64[Tensor, "n g+1"]
    """Distance to the k-th other row: of all, then without each group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Which of m points lie in which of n balls: with all balls, then without each of g groups of them."""

    points_inside: Bool[Tensor, "g+1 m"]
    """Whether a point lies in any ball."""
    balls_filled: Bool[Tensor, "g+1 n"]
    """Whether a ball holds any point; of no meaning for balls that are left out."""
    pairs: Int64[Tensor, " g+1"]
    """Point-ball pairs inside."""
    balls_of_point: Int64[Tensor, " m"]
    """How many of all balls a point lies in."""
    filled_by_group: Bool[Tensor, "n h"]
    """Whether a ball of all holds any point of each group of points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scaled:
    """Rows ready for the search: about a common centre and scaled to at most 1."""

    rows: Float[Tensor, "n d"]
    squares: Float64[Tensor, " n"]
    least: Float[Tensor, " n"]
    """Of the squares, lowered by the error: least_a + least_b - 2 a.b is at most |a - b|^2."""
    slack: float
    """|least_a + least_b - 2 a.b + slack (|a|^2 + |b|^2) - |a - b|^2| is at most slack (|a|^2 + |b|^2) + TINY."""
    factor: float
    """Scaled over given length; a power of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One set's balls with what the search needs of them."""

    balls: Balls
    scaled: _Scaled
    limits: Float64[Tensor, "n g+1"]
    """Squared radii in scaled units."""
    reach: Float[Tensor, " n"]
    """The greatest of them."""


def ball_radii(
    rows: Float64[Tensor, "n d"], k: int, *, groups: Int64[Tensor, " n"], left_out: int = 0, side: int | None = None
) -> Balls:
    """Return balls as far as each row's k-th nearest other row, exactly.

    Args:
        rows: n rows, more than k also without a group.
        k: at least 1.
        groups: group of each row.
        left_out: how many groups to leave out in turn, 0 for none.
        side: rows of a block; chosen by the device when None, and of no influence on the result.
    """
    (scaled,) = _scaled_together(rows)
    least, numbers = _nearest(scaled, min(k + SPARE, len(rows) - 1), side)
    distances, order = _ranked(rows, scaled, least, numbers=numbers, k=k, only_kth=left_out == 0).sort(dim=1)
    radii = _kth_allowed(distances, groups[numbers.gather(1, order)], k=k, left_out=left_out)
    if numbers.shape[1] < len(rows) - 1:
        known = _lengths(least.amax(dim=1, keepdim=True), scaled)  # rows that were not kept are at least as far
        unsure = ((radii > known) & (radii > 0)).any(dim=1).nonzero()[:, 0]
        for part in unsure.split(max(1, PAIR_BYTES // (32 * len(rows)))):
            radii[part] = _radii_by_all(rows, part, k, groups=groups, left_out=left_out)
    return Balls(rows=rows, groups=groups, radii=radii)


def ball_hits(ours: Balls, theirs: Balls, *, closed: bool, side: int | None = None) -> tuple[Hits, Hits]:
    """Return which of their rows lie in our balls, and which of our rows in theirs.

    Args:
        ours: n balls.
        theirs: m balls of rows as long.
        closed: whether a ball's surface belongs to it.
        side: as for `ball_radii`.
    """
    a, b = _scaled_together(ours.rows, theirs.rows)
    one, other = _side(ours, a), _side(theirs, b)
    in_ours, in_theirs = _no_hits(ours, theirs), _no_hits(theirs, ours)
    for upper in _slices(ours.rows, side):
        for lower in _slices(theirs.rows, side):
            least = _least(a, b, rows=upper, columns=lower)
            _count(in_ours, one, other, rows=upper, columns=lower, least=least, closed=closed)
            _count(in_theirs, other, one, rows=lower, columns=upper, least=least.T, closed=closed)
    return in_ours, in_theirs


def _side(balls: Balls, scaled: _Scaled) -> _Side:
    limits = (balls.radii * scaled.factor).square_()
    return _Side(balls=balls, scaled=scaled, limits=limits, reach=limits.amax(dim=1).to(scaled.rows.dtype))


def _count(
    hits: Hits, balls: _Side, points: _Side, *, rows: slice, columns: slice, least: Float[Tensor, "a b"], closed: bool
) -> None:
    """Add one block's pairs of a ball and a point inside it."""
    i, j = (least <= balls.reach[rows, None]).nonzero(as_tuple=True)
    distances = _decisive(balls, points, rows=rows, columns=columns, i=i, j=j, least=least)
    i, j = i + rows.start, j + columns.start
    groups, others = balls.balls.groups[i], points.balls.groups[j]
    for left_out in range(len(hits.pairs)):
        radii = balls.balls.radii[i, left_out]
        inside = distances <= radii if closed else distances < radii
        if left_out == 0:
            hits.balls_of_point.index_add_(0, j, inside.long())
            hits.filled_by_group[i[inside], others[inside]] = True
        else:
            inside &= groups != left_out - 1
        hits.points_inside[left_out, j[inside]] = True
        hits.balls_filled[left_out, i[inside]] = True
        hits.pairs[left_out] += inside.sum()


def _decisive(
    balls: _Side, points: _Side, *, rows: slice, columns: slice, i: Tensor, j: Tensor, least: Float[Tensor, "a b"]
) -> Float64[Tensor, " p"]:
    """Return the pairs' distances: exact where the search cannot tell on which side of a radius they are."""
    a, b = balls.scaled, points.scaled
    error = (a.squares[rows][i] + b.squares[columns][j]).mul_(a.slack)
    squares = least[i, j].double().add_(error)
    unsure = torch.zeros_like(i, dtype=torch.bool)
    for limits in balls.limits[rows].T:
        unsure |= (squares - limits[i]).abs_() <= error + TINY
    places = unsure.nonzero()[:, 0]
    distances = _lengths(squares, a)
    ours, theirs = balls.balls.rows[rows], points.balls.rows[columns]
    if len(places) * DIRECT_SHARE > least.numel():
        distances[places] = exact_distances(ours, theirs)[i[places], j[places]]
    else:
        distances[places] = _measured(ours, theirs, i=i[places], j=j[places])
    return distances


def _no_hits(balls: Balls, points: Balls) -> Hits:
    device = balls.rows.device
    n, m, choices = len(balls.rows), len(points.rows), balls.radii.shape[1]
    return Hits(
        points_inside=torch.zeros(choices, m, dtype=torch.bool, device=device),
        balls_filled=torch.zeros(choices, n, dtype=torch.bool, device=device),
        pairs=torch.zeros(choices, dtype=torch.int64, device=device),
        balls_of_point=torch.zeros(m, dtype=torch.int64, device=device),
        filled_by_group=torch.zeros(n, int(points.groups.max()) + 1, dtype=torch.bool, device=device),
    )


def _nearest(scaled: _Scaled, count: int, side: int | None) -> tuple[Float64[Tensor, "n c"], Int64[Tensor, "n c"]]:
    """Return the least lower bounds of the squared distance to other rows, and whose; products serve both ways."""
    size, device = len(scaled.rows), scaled.rows.device
    bounds = torch.full((size, count), math.inf, dtype=scaled.rows.dtype, device=device)
    numbers = torch.zeros(size, count, dtype=torch.int64, device=device)
    places = _slices(scaled.rows, side)
    for position, upper in enumerate(places):
        for lower in places[: position + 1]:
            least = _least(scaled, scaled, rows=upper, columns=lower)
            if upper == lower:
                least.fill_diagonal_(math.inf)
            else:
                _keep_nearest(bounds[lower], numbers[lower], least.T.contiguous(), first=upper.start)
            _keep_nearest(bounds[upper], numbers[upper], least, first=lower.start)
    return bounds.double(), numbers


def _keep_nearest(
    bounds: Float[Tensor, "n c"], numbers: Int64[Tensor, "n c"], least: Float[Tensor, "n b"], *, first: int
) -> None:
    """Replace, in place, what is kept by the nearest of it and of the block's columns."""
    values, columns = least.topk(min(bounds.shape[1], least.shape[1]), dim=1, largest=False, sorted=False)
    both, where = torch.cat([bounds, values], dim=1).topk(bounds.shape[1], dim=1, largest=False, sorted=False)
    numbers.copy_(torch.cat([numbers, columns + first], dim=1).gather(1, where))
    bounds.copy_(both)


def _ranked(
    rows: Float64[Tensor, "n d"],
    scaled: _Scaled,
    least: Float64[Tensor, "n c"],
    *,
    numbers: Int64[Tensor, "n c"],
    k: int,
    only_kth: bool,
) -> Float64[Tensor, "n c"]:
    """Return distances that are exact wherever they may be the k-th, and lower bounds, in order with these, elsewhere.

    What is surely nearer than the k-th is not measured; nor, when only the k-th is asked for, what is surely farther.
    """
    error = (scaled.squares[:, None] + scaled.squares[numbers]).mul_(scaled.slack).add_(TINY)
    most = least + 2 * error
    wanted = most >= least.kthvalue(k, dim=1, keepdim=True).values
    if only_kth:
        wanted &= least <= most.kthvalue(k, dim=1, keepdim=True).values
    distances = _lengths(least.clone(), scaled)
    row, column = wanted.nonzero(as_tuple=True)
    distances[row, column] = _measured(rows, rows, i=row, j=numbers[row, column])
    return distances


def _measured(
    a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"], *, i: Int64[Tensor, " p"], j: Int64[Tensor, " p"]
) -> Float64[Tensor, " p"]:
    """Return the exact distance of each pair of rows."""
    step = max(1, PAIR_BYTES // (16 * a.shape[1]))
    parts = zip(i.split(step), j.split(step), strict=True)
    return torch.cat([exact_distances(a[one, None], b[other, None])[:, 0, 0] for one, other in parts])


def _lengths(squares: Float64[Tensor, "*n"], scaled: _Scaled) -> Float64[Tensor, "*n"]:
    """Return, in place, roots in the units of the given rows."""
    return squares.clamp_(min=0).sqrt_().div_(scaled.factor)


def _radii_by_all(
    rows: Float64[Tensor, "n d"], part: Int64[Tensor, " p"], k: int, *, groups: Int64[Tensor, " n"], left_out: int
) -> Float64[Tensor, "p g+1"]:
    """Return the radii of some rows by their exact distances to all."""
    distances = exact_distances(rows[part], rows)
    distances[torch.arange(len(part), device=rows.device), part] = math.inf
    distances, order = distances.sort(dim=1)
    return _kth_allowed(distances, groups[order], k=k, left_out=left_out)


def _kth_allowed(
    distances: Float64[Tensor, "n c"], groups: Int64[Tensor, "n c"], *, k: int, left_out: int
) -> Float64[Tensor, "n g+1"]:
    """Return the k-th of the rising distances, of all and then without each group; infinity where they are too few."""
    ended = torch.nn.functional.pad(distances, (0, 1), value=math.inf)
    radii = []
    for group in range(-1, left_out):
        skipped = ((groups != group).cumsum(dim=1) < k).sum(dim=1, keepdim=True)
        radii.append(ended.gather(1, skipped))
    return torch.cat(radii, dim=1)


def _scaled_together(*sets: Float64[Tensor, "n d"]) -> list[_Scaled]:
    """Return the sets for the search: about the first one's mean, in float32 where its products are truly float32."""
    centre = sets[0].mean(dim=0)
    greatest = max(float(torch.maximum(rows.amax(dim=0) - centre, centre - rows.amin(dim=0)).max()) for rows in sets)
    factor = 2.0 ** min(1000, -math.ceil(math.log2(greatest))) if greatest > 0 else 1.0
    dtype = _search_dtype(sets[0].device)
    # products and rounding to the dtype: d units in the last place, and some for the few sums; Higham 2002, section 3.1
    slack = (sets[0].shape[1] + 32) * torch.finfo(dtype).eps / 2
    return [_scaled(rows, centre, factor=factor, slack=slack) for rows in sets]


def _scaled(rows: Float64[Tensor, "n d"], centre: Float64[Tensor, " d"], *, factor: float, slack: float) -> _Scaled:
    scaled = torch.empty(rows.shape, dtype=_search_dtype(rows.device), device=rows.device)
    squares = rows.new_empty(len(rows))
    for part in _slices(rows, None):
        centred = (rows[part] - centre).mul_(factor)
        torch.linalg.vecdot(centred, centred, out=squares[part])
        scaled[part] = centred
    least = (squares * (1 - slack) - TINY).to(scaled.dtype)
    return _Scaled(rows=scaled, squares=squares, least=least, slack=slack, factor=factor)


def _search_dtype(device: torch.device) -> torch.dtype:
    """Return float32, or float64 where the user lets float32 products be rounded to fewer digits."""
    exact = torch.get_float32_matmul_precision() == "highest" and not torch.is_autocast_enabled(device.type)
    return torch.float32 if exact else torch.float64


def _least(a: _Scaled, b: _Scaled, *, rows: slice, columns: slice) -> Float[Tensor, "a b"]:
    """Return a lower bound of each squared distance, in scaled units."""
    products = (a.rows[rows] @ b.rows[columns].T).mul_(-2)
    return products.add_(a.least[rows, None]).add_(b.least[columns])


def _slices(rows: Tensor, side: int | None) -> list[slice]:
    step = side or (1024 if rows.device.type == "cpu" else 4096)
    return [slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
