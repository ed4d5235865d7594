"""`underpass doctor`: what this machine and an interface can do, what will be used, and why not better."""

import argparse

from underpass.cli.common import add_json, columns, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--interface", "-i", metavar="IF", help="examine this interface too")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Examine and say; 1 where something makes Underpass impossible."""
    from underpass.linux.doctor import examine

    findings = examine(options.interface)
    if options.json:
        print_json([finding.as_dict() for finding in findings])
    else:
        rows: list[tuple[str, str, str]] = []
        for finding in findings:
            rows.append((finding.status, finding.name, finding.detail))
            if finding.better:
                rows.append(("", "", f"better: {finding.better}"))
        columns(rows)
    return int(any(finding.status == "fail" for finding in findings))
