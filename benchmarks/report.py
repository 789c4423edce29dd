"""Tables: on the screen, and between the markers of docs/performance.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .timing import Race

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
LENSES_PAGE = PAGE.with_name("lenses.md")
MEASURES_PAGE = PAGE.with_name("measures.md")
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
RACE_COLUMNS = ["what", "ms", "over", "ms", "ratio", "quartiles", "budget", ""]


@dataclass
class Table:
    """One table of the report.

    Attributes:
        title: its heading.
        columns: the names of its columns.
        rows: its cells.
        notes: sentences below it.
    """

    title: str
    columns: list[str] = field(default_factory=lambda: list(RACE_COLUMNS))
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(
        self, race: Race, name: str, over: str, budget: float | None = None, what: str | None = None
    ) -> None:
        """Add a row: one contender over another of the same race."""
        ratio = race.ratio(name, over)
        self.rows.append([
            what or name,
            milliseconds(race.milliseconds(name)),
            over,
            milliseconds(race.milliseconds(over)),
            f"{ratio.median:.2f}×",
            f"{ratio.low:.2f}–{ratio.high:.2f}",
            *verdict(ratio.median, budget),
        ])  # fmt: skip

    def screen(self) -> str:
        cells = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        lines.insert(1, "  ".join("─" * w for w in widths))
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), "", *self.notes, ""])

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(row)} |" for row in lines)
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"### {self.title}\n\n{table}\n" + (f"\n{notes}\n" if notes else "")


def write_some(machine: str, tables: list[Table], page: Path = PAGE) -> None:
    """Put some tables in the place of those of the same titles, or after the others; each says what
    it was measured on.
    """
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} lacks the lines {BEGIN!r} and {END!r}.")
    head, rest = text.split(BEGIN)
    body, tail = rest.split(END)
    first, *sections = body.split("\n### ")
    by_title = {section.split("\n", 1)[0]: section for section in sections}
    where = machine.split(";", 1)[0]
    for table in tables:
        table.notes.append(f"{where}.")
        by_title[table.title] = table.markdown().removeprefix("### ")
    whole = "\n### ".join([first, *(each.rstrip("\n") + "\n" for each in by_title.values())])
    page.write_text(f"{head}{BEGIN}{whole}\n{END}{tail}", encoding="utf-8")


def verdict(ratio: float, budget: float | None) -> list[str]:
    """Two cells: the budget, and whether it was kept."""
    if budget is None:
        return ["", ""]
    return [f"{budget:.2f}×", "kept" if ratio <= budget else "OVER"]


def milliseconds(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.1f}"


def write_page(machine: str, tables: list[Table], page: Path = PAGE) -> None:
    """Put the tables between the markers of the page; the prose around them stays."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} lacks the lines {BEGIN!r} and {END!r}.")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    body = "\n".join(table.markdown() for table in tables)
    page.write_text(f"{head}{BEGIN}\n\n{machine}\n\n{body}\n{END}{tail}", encoding="utf-8")
