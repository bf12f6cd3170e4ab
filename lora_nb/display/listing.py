"""Which files an upload has, with their sizes, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from lora_nb.display.text_table import text_table
from lora_nb.display.words import plain, size
from lora_nb.runs.export_events import Uploaded, UploadListed

__all__ = ["LISTING", "listing_rows", "listing_text", "listing_title", "upload_line"]

LISTING = ("file", "size")
_MANY = 20


def listing_title(told: UploadListed) -> str:
    """One line: how much goes where, and who will see it."""
    total = size(sum(told.files.values()))
    seen = "private" if told.private else "public"
    would = "would go" if told.dry_run else "go"
    return plain(f"{len(told.files)} files, {total}, {would} to {told.repo} ({seen})")


def listing_rows(told: UploadListed) -> list[Sequence[str]]:
    """A row for each file, and one for those that stay here."""
    rows: list[Sequence[str]] = [(name, size(count)) for name, count in told.files.items()]
    if told.left_out:
        more = len(told.left_out) - _MANY
        names = ", ".join(told.left_out[:_MANY]) + (f" and {more} more" if more > 0 else "")
        rows.append((f"not sent: {names}", ""))
    return rows


def listing_text(told: UploadListed) -> str:
    """Title and rows as plain text."""
    table = text_table(LISTING, listing_rows(told)).splitlines()
    return "\n".join([f"{listing_title(told)}:", *(f"  {line}" for line in table)])


def upload_line(told: Uploaded) -> str:
    """What is where, and who can see it."""
    seen = "private" if told.private else "public"
    return f"{told.files} files, {size(told.size)} in {told.url} ({seen})"
