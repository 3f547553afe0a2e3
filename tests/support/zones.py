"""Time zones whose rules the tests bring themselves.

What the machine or the package tzdata says of a zone changes: a country gives up its daylight
saving time, and a test of its midnight holds no more. Each rule is a POSIX TZ string and stands for
every year.
"""

import struct
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

RULES: Final = {
    "Africa/Cairo": "EET-2EEST,M4.5.5/0,M10.5.4/24",
    "Africa/Casablanca": "<+01>-1<+00>0,M2.3.0/3,M3.4.0/2",  # around the Ramadan of 2026
    "America/Havana": "CST5CDT,M3.2.0/0,M11.1.0/1",
    "America/Los_Angeles": "PST8PDT,M3.2.0,M11.1.0",
    "America/New_York": "EST5EDT,M3.2.0,M11.1.0",
    "America/Santiago": "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
    "Asia/Beirut": "EET-2EEST,M3.5.0/0,M10.5.0/0",
    "Asia/Kathmandu": "<+0545>-5:45",
    "Asia/Taipei": "CST-8",
    "Atlantic/Azores": "<-01>1<+00>,M3.5.0/0,M10.5.0/1",
    "Australia/Lord_Howe": "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "Europe/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3",
    "Pacific/Kiritimati": "<+14>-14",
}

_NOTHING_BEFORE: Final = struct.pack(">6L", 0, 0, 0, 0, 1, 1) + struct.pack(">lbB", 0, 0, 0) + b"\0"
"""A block of RFC 8536 without a transition, so that the rule alone counts."""


def write(folder: Path) -> None:
    """Write each zone as a file of RFC 8536, version 2."""
    block = b"TZif2" + bytes(15) + _NOTHING_BEFORE
    for name, rule in RULES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(block + block + b"\n" + rule.encode() + b"\n")


@contextmanager
def ours(folder: Path) -> Iterator[None]:
    """In this process our zones go before the machine's; all others stay as they are there."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath((str(folder), *before))
    zoneinfo.ZoneInfo.clear_cache()
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(before)
        zoneinfo.ZoneInfo.clear_cache()
