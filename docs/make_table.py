"""Write the table of operators of the documentation from the mapping table: `make docs`."""

from __future__ import annotations

from pathlib import Path

import pipegrad as pg
from pipegrad.sources.sklearn.unsupported import REFUSED

PAGE = Path(__file__).parent / "operators.md"
INTRODUCTION = """# Operators

Generated from the mapping table. A *composite* unfolds into its parts. Everything else becomes a
module, and its trained numbers go back. Whatever is not here runs in its own library where it
stands before the first trained step, and is refused, with the reason below, where it stands after.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "| class | | what becomes of it |", "|---|---|---|"]
    for row in pg.supported():
        kind = "composite" if row.kind == "composite" else ""
        lines.append(f"| `{row.name}` | {kind} | {row.summary} |")
    lines += ["", "## Not translated", "", "| class | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"docs/{PAGE.name}: {len(pg.supported())} classes")
