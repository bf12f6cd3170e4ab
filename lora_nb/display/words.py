"""Numbers and foreign text in words fit for one line of a terminal or a picture."""

from __future__ import annotations

import math

__all__ = ["duration", "gigabytes", "loss", "plain", "rate", "size"]


def loss(value: float) -> str:
    """A loss with three decimals, or two significant digits below 0.01."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def rate(value: float) -> str:
    """A rate or count in at most four places: 0.31, 3.1, 31, 5.2k, 1.3M."""
    if not math.isfinite(value):
        return "?"
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            scaled = value / factor
            return f"{scaled:.0f}{unit}" if scaled >= 99.5 else f"{scaled:.1f}{unit}"
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def gigabytes(value: float) -> str:
    """Memory given in GB: 0.42 GB, 12.4 GB."""
    return f"{value:.1f} GB" if value >= 9.995 else f"{value:.2f} GB"


def size(count: int) -> str:
    """Bytes as 83 kB, 12.4 MB, 4.1 GB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Seconds as 0:41, 12:05, 1:02:03; unknown ones as ?."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(text: str, *, lines: bool = False) -> str:
    """Text without control characters, so that it cannot steer a terminal or split a line.

    `lines` keeps newlines and tabs.
    """
    kept = "\n\t" if lines else ""
    return "".join(char if char.isprintable() or char in kept else _stand_in(char) for char in text)


def _stand_in(char: str) -> str:
    return " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
