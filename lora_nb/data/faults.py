"""What can be wrong with one row."""

from __future__ import annotations

from lora_nb.errors import LoraError

__all__ = ["RowError", "shorten"]

_SHOWN = 60


class RowError(LoraError):
    """One row cannot be used: where it is, what is wrong with it, what to do.

    `code` groups equal faults, `value` is the offending value, shortened.
    """

    def __init__(
        self, code: str, message: str, remedy: str, *, value: str = "", where: str = ""
    ) -> None:
        self.code = code
        self.message = message
        self.remedy = remedy
        self.value = value
        self.where = where
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line, its place in front."""
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message} {self.remedy}".rstrip()

    def at(self, where: str) -> RowError:
        """The same fault with its place."""
        return RowError(self.code, self.message, self.remedy, value=self.value, where=where)


def shorten(value: object, limit: int = _SHOWN) -> str:
    """A value on one line, as Python writes it, of at most `limit` characters.

    Long texts are cut before they are written out, so that a huge value costs nothing.
    """
    if isinstance(value, str):
        text = repr(value[: limit + 1])
    elif isinstance(value, (bytes, bytearray)):
        text = repr(bytes(value[: limit + 1]))
    else:
        try:
            text = repr(value)
        except RecursionError:
            text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
