"""How much slower this process is than one that nobody looks at."""

import sys
from typing import Final

TRACED: Final = 3 if "coverage" in sys.modules else 1
"""What is measured in time takes so many times as long while each line is noted."""
