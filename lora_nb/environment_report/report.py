"""The report: a line for each thing that was looked at, as text, table or DataFrame."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "Report"]


@dataclass(frozen=True)
class Check:
    """One line: `ok` is None where there is nothing to judge."""

    name: str
    value: str
    ok: bool | None = None
    remedy: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """All checks; shows as text, as a table in a notebook, or as a DataFrame."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True unless a check failed."""
        return all(check.ok is not False for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = []
        for check in self.checks:
            lines.append(f"{_mark(check):2}  {check.name:{width}}  {check.value}")
            if check.remedy:
                lines.append(f"{'':{width + 6}}-> {check.remedy}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{_mark(check)}</td>"
            f'<th scope="row" style="text-align:left">{html.escape(check.name)}</th>'
            f'<td style="text-align:left">{html.escape(check.value)}</td>'
            f'<td style="text-align:left">{html.escape(check.remedy)}</td></tr>'
            for check in self.checks
        )
        # The classes keep JupyterLab from typesetting dollar signs in paths.
        return (
            '<div class="tex2jax_ignore mathjax_ignore"><table><thead><tr>'
            + "".join(f'<th scope="col">{name}</th>' for name in ("", "Check", "Found", "To do"))
            + f"</tr></thead><tbody>{cells}</tbody></table></div>"
        )

    def frame(self) -> pd.DataFrame:
        """The checks as a DataFrame with the columns check, found, ok and todo."""
        import pandas as pd

        rows = [(c.name, c.value, c.ok, c.remedy) for c in self.checks]
        return pd.DataFrame(rows, columns=["check", "found", "ok", "todo"])


def _mark(check: Check) -> str:
    return {True: "ok", False: "!!", None: ""}[check.ok]
