"""Draws cost against size, from what benchmarks/scale tells on standard input, as an SVG.

Runs where matplotlib is, which is nowhere else needed.

usage: python -m benchmarks.picture FILE
"""

import json
import sys
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt

PANELS: Final = (
    ("report_ms", "CPU of a report, ms", "C0"),
    ("scrape_ms", "CPU of a scrape after\n25 bots changed, ms", "C1"),
    ("megabytes", "resident memory, MB", "C2"),
    ("late_ms", "/-/healthy, 99 % within ms", "C3"),
)


def main() -> None:
    """Draw a panel for each cost."""
    given: dict[str, Any] = json.load(sys.stdin)
    mpl.rcParams["svg.hashsalt"] = "seasalt"  # the same figures make the same file
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["font.size"] = 9
    figure, panels = plt.subplots(1, len(PANELS), figsize=(11, 2.9), layout="constrained")
    bots = [size["bots"] for size in given["sizes"]]
    for panel, (name, title, colour) in zip(panels, PANELS, strict=True):
        values = [size[name] for size in given["sizes"]]
        panel.plot(bots, values, "o-", color=colour)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0, top=1.25 * max(values))
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("bots, 150 series each")
        panel.grid(alpha=0.3)
        for x, y in zip(bots, values, strict=True):
            panel.annotate(f"{y:.3g}", (x, y), (0, 5), textcoords="offset points", ha="center")
        panel.margins(x=0.15)
    figure.suptitle(given["note"], fontsize=7, color="grey")
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
