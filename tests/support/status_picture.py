"""Draws the picture of the status page that the documentation shows, with the fonts of this machine.

`python tests/support/status_picture.py` writes docs/pictures/status.png.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import chromium
from support.statuses import LINKS, night, shown

PICTURE: Final = Path(__file__).parents[2] / "docs/pictures/status.png"
SIZE: Final = (1200, 1300)

if __name__ == "__main__":
    program = (
        shutil.which("chromium") or shutil.which("chromium-browser") or sys.exit("no chromium")
    )
    fewer_colours = shutil.which("pngquant") or sys.exit("no pngquant")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(shown(night(), LINKS), encoding="utf-8")
        with (
            chromium(program, Path(folder, "profile")) as browser,
            browser.page(file.as_uri(), SIZE) as page,
        ):
            drawn = page.picture()
    # A palette of 256 colours makes it a third of the size, and shows no difference.
    PICTURE.write_bytes(
        subprocess.run([fewer_colours, "-"], input=drawn, capture_output=True, check=True).stdout
    )
