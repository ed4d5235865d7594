"""A report as a table for the terminal and as a plot."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from underpass.observe import plotting


def quantity(value: float) -> str:
    """Three or four digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def with_spread(figure: dict[str, float]) -> str:
    """Median, and the range of the rounds where they differ."""
    text = quantity(figure["median"])
    if figure["min"] != figure["max"]:
        text += f" ({quantity(figure['min'])}..{quantity(figure['max'])})"
    return text


def goal_text(goal: dict[str, Any]) -> str:
    """What was to be reached and whether it was."""
    sign = "<=" if goal["at_most"] else ">="
    bound = f"{sign} {quantity(goal['bound'])}" + (f" x {goal['times']}" if goal["times"] else "")
    got = f"{goal['ratio']:.2f} x" if goal["ratio"] is not None and goal["times"] else ""
    verdict = {True: "met", False: "not met", None: "not compared"}[goal["met"]]
    return " ".join(part for part in (got, f"[{bound}: {verdict}]") if part)


def table(report: dict[str, Any]) -> Table:
    """One line for each figure of each row, a column for each server."""
    servers = list(dict.fromkeys(name for row in report["rows"] for name in row["servers"]))
    out = Table("row", "figure", *servers, "goal", title="median (range of the rounds)", title_justify="left")
    for row in report["rows"]:
        goals = {figure: "\n".join(goal_text(goal) for goal in row["goals"] if goal["figure"] == figure)
                 for figure in dict.fromkeys(goal["figure"] for goal in row["goals"])}
        names = dict.fromkeys(name for one in row["servers"].values() for name in one["figures"])
        label = f"{row['what']}\n{row['placement'].split(':')[0]}"
        for name in names:
            cells = [row["servers"].get(server, {}).get("figures", {}).get(name) for server in servers]
            out.add_row(label, report["units"].get(name, name),
                        *(with_spread(cell) if cell else "-" for cell in cells),
                        goals.get(name, "").replace("[", "\\["))
            label = ""
        failed = {name: one["failures"] for name, one in row["servers"].items() if one["failures"]}
        if failed or not names:
            text = "; ".join(f"{name}: {said[0]}" for name, said in failed.items())
            out.add_row(label, "failed", text.replace("[", "\\["), *[""] * len(servers))
        out.add_section()
    return out


def show(report: dict[str, Any], console: Console) -> None:
    """The table, and under it what every figure depends on."""
    console.print(table(report))
    facts = report["machine"]
    console.print(f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}; "
                  f"{report['length']}", highlight=False)
    console.print(f"mitigations: {facts['mitigations']}", highlight=False)
    for text in dict.fromkeys(row["placement"] for row in report["rows"]):
        console.print(f"placement {text}", highlight=False)
    paths = {name: one["path"] for row in report["rows"] for name, one in row["servers"].items()
             if one["path"]}
    for name, path in paths.items():
        console.print(f"path of {name}: {path}", highlight=False)
    console.print(report["how"], highlight=False)


def plot(report: dict[str, Any], file: Path) -> None:
    """Bars with the rounds' range, a panel for each figure. Raises ImportError without matplotlib."""
    pyplot = plotting.pyplot()
    panels = [name for name in report["plotted"] if any(
        name in one["figures"] for row in report["rows"] for one in row["servers"].values())]
    if not panels:
        raise ValueError(f"nothing to plot: none of {', '.join(report['plotted'])} was measured")
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, 2.6 * len(panels)), squeeze=False)
    for axis, name in zip(axes[:, 0], panels, strict=True):
        panel(axis, report, name)
    axes[0, 0].legend(loc="best")
    figure.suptitle(f"Linux {report['machine']['kernel']}, {report['machine']['processor']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def panel(axis: Any, report: dict[str, Any], name: str) -> None:
    """One figure: a group of bars for each row that has it."""
    rows = [row for row in report["rows"] if any(name in one["figures"] for one in row["servers"].values())]
    servers = list(dict.fromkeys(server for row in report["rows"] for server in row["servers"]))
    for place, server in enumerate(servers):
        points = [(at, row["servers"][server]["figures"][name]) for at, row in enumerate(rows)
                  if name in row["servers"].get(server, {}).get("figures", {})]
        if not points:
            continue
        heights = [figure["median"] for _, figure in points]
        low = [figure["median"] - figure["min"] for _, figure in points]
        high = [figure["max"] - figure["median"] for _, figure in points]
        axis.bar([at + 0.27 * place for at, _ in points], heights, 0.25, yerr=[low, high], label=server,
                 color=f"C{place}", capsize=2)
    axis.set_xticks([at + 0.13 for at in range(len(rows))], [row["name"] for row in rows], fontsize=8)
    axis.set_title(report["units"].get(name, name), fontsize=9, loc="left")
