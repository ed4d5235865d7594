"""Figures as tables in Markdown, between marks in a page whose other text stays as it is."""

from pathlib import Path
from typing import Any

from underpass.apps.bench.figure import table

NOTHING = {"-", "0", "0 +- 0"}
MARKS = "<!-- figure {name} -->\n", "<!-- end of figure {name} -->\n"


def write(reports: list[dict[str, Any]], file: Path) -> None:
    """Each figure between its marks; at the end of the page where it has none, or is not there yet."""
    page = file.read_text() if file.exists() else "# The paper's figures, measured here\n"
    for report in reports:
        begin, end = (mark.format(name=report["figure"]) for mark in MARKS)
        text = begin + "\n" + markdown(report) + "\n" + end
        if begin not in page or end not in page:
            page += f"\n## {report['what']}\n\n{begin}{end}"
        page = page[:page.index(begin)] + text + page[page.index(end) + len(end):]
    file.write_text(page)


def markdown(report: dict[str, Any]) -> str:
    """A table for each value: a line for each configuration, a column for each place."""
    rows = table(report)
    names, places = rows[0][2:], list(dict.fromkeys(row[0] for row in rows[1:]))
    values = dict.fromkeys(row[1] for row in rows[1:])
    cells = {(row[0], row[1]): dict(zip(names, row[2:], strict=True)) for row in rows[1:]}
    lines, always = [], []
    for value in values:
        told = {name: [cells.get((place, value), {}).get(name, "-") for place in places] for name in names}
        if all(cell in NOTHING for row in told.values() for cell in row):
            always.append(value)
            continue
        lines += [f"| {value} at | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
        lines += [f"| {name} | {' | '.join(row)} |" for name, row in told.items() if {*row} != {"-"}]
        lines.append("")
    rounds = [len(at["rounds"]) for one in report["configurations"].values() for at in one["places"].values()]
    facts = report["machine"]
    many = "-".join(dict.fromkeys(str(it) for it in (min(rounds), max(rounds)))) if rounds else "0"
    lines += [f"0 everywhere: {value}." for value in always]
    lines += [f"Mean +- standard error, rounds: {many} of {report['seconds']:g} s; {facts['processor']},"
              f" {facts['cores']} cores, Linux {facts['kernel']}."]
    lines += [f"- {name}: {text}" for name, one in report["configurations"].items()
              for text in one["failures"]]
    return "\n".join(lines) + "\n"
