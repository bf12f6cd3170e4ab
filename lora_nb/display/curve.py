"""Points of a curve: in order, smoothed, and few enough to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

__all__ = ["MANY", "Points", "points", "smooth", "thin"]

Points = list[tuple[int, float]]

MANY = 40
"""From this many points on a curve is drawn smoothed over its raw line."""


def points(losses: Mapping[int, float]) -> Points:
    """(step, loss) in the order of steps; losses that are no numbers become NaN gaps."""
    return [
        (step, loss if math.isfinite(loss) else math.nan) for step, loss in sorted(losses.items())
    ]


def smooth(raw: Points) -> Points:
    """A centred moving mean over about a twenty-fifth of the points; NaN is left out of it."""
    half = max(1, len(raw) // 50)
    known = [0 if math.isnan(loss) else 1 for _, loss in raw]
    counts = [0, *accumulate(known)]
    sums = [0.0, *accumulate(0.0 if math.isnan(loss) else loss for _, loss in raw)]
    smoothed: Points = []
    for place, (step, _) in enumerate(raw):
        first, after = max(0, place - half), min(len(raw), place + half + 1)
        count = counts[after] - counts[first]
        smoothed.append((step, (sums[after] - sums[first]) / count if count else math.nan))
    return smoothed


def thin(raw: Points, limit: int = 1000) -> Points:
    """At most about `limit` points that keep the ends and every stretch's lowest and highest."""
    if len(raw) <= limit:
        return raw
    buckets = max(1, (limit - 2) // 2)
    inner = raw[1:-1]
    kept = [raw[0]]
    for bucket in range(buckets):
        part = inner[bucket * len(inner) // buckets : (bucket + 1) * len(inner) // buckets]
        kept.extend(_extremes(part))
    return [*kept, raw[-1]]


def _extremes(part: Points) -> Points:
    known = [point for point in part if not math.isnan(point[1])]
    if not known:
        return part[:1]
    low, high = min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])
    return [low] if low == high else sorted((low, high))
