"""`make coverage` ends here: tools/COVERAGE.md, the share of lines that the tests ran, by folder.

coverage json --quiet -o FILE; python tools/coverage_page.py FILE
"""

import collections
import json
import platform
import sys
import time
from pathlib import Path

PAGE = Path(__file__).with_name("COVERAGE.md")


def main(path: str) -> None:
    page = text(json.loads(Path(path).read_text(encoding="utf-8")))
    PAGE.write_text(page, encoding="utf-8", newline="\n")
    print(page)


def text(report: dict) -> str:
    """The page: the whole, and a row for each folder of minilora (files beside them are "minilora")."""
    lines, missed = collections.Counter(), collections.Counter()
    for name, entry in report["files"].items():
        parts = Path(name.replace("\\", "/")).parts
        folder = "/".join(parts[:2] if len(parts) > 2 else parts[:1])
        lines[folder] += entry["summary"]["num_statements"]
        missed[folder] += entry["summary"]["missing_lines"]
    rows = [
        f"| {name} | {lines[name]:,} | {missed[name]:,} | {share(lines[name], missed[name])} |"
        for name in sorted(lines)
    ]
    total, left = sum(lines.values()), sum(missed.values())
    return "\n".join(
        [
            "# Coverage",
            "",
            f"`make coverage`, {time.strftime('%Y-%m-%d')}, Python {platform.python_version()} on {platform.system()}: the tests, with "
            f"every extra but parity, and the processes that they start run **{share(total, left)}** of {total:,} lines.",
            "",
            "| folder | lines | never run | share |",
            "|:---|---:|---:|---:|",
            *rows,
            "",
        ]
    )  # fmt: skip


def share(lines: int, missed: int) -> str:
    """In percent, rounded down: 94.99 is not 95."""
    return f"{int(1000 * (lines - missed) / lines) / 10:.1f}%" if lines else "100.0%"


if __name__ == "__main__":
    main(sys.argv[1])
