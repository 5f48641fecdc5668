"""SSIM files for tests, column by column."""

from __future__ import annotations

from collections.abc import Sequence

TITLE = "1AIRLINE STANDARD SCHEDULE DATA SET"
PADDING = "0" * 200


def columns(**texts: str) -> str:
    """194 characters with each text from its column (``c15="01DEC26"``), counted from 1."""
    record = [" "] * 194
    for column, text in texts.items():
        start = int(column[1:]) - 1
        record[start : start + len(text)] = text
    return "".join(record)


def leg(number: str = "101", origin: str = "DEL", destination: str = "BOM", **other: str) -> str:
    """A record 3 of 6E; ``dep`` and ``arr`` are HHMM, ``dates`` two of 01DEC26, ``days`` in their places."""
    v = {
        "suffix": " ", "carrier": "6E", "itinerary": "01", "sequence": "01", "service": "J",
        "dates": "01DEC2631DEC26", "days": "1234567", "rate": " ", "dep": "1000", "arr": "1210",
        "depvar": "+0530", "arrvar": "+0530", "type": "320", "config": "Y180", "variation": "00", "disclosure": " ",
        "overflow": " ", "pdep": "", "parr": "",
    } | other  # fmt: skip
    return columns(
        c1="3" + v["suffix"] + f"{v['carrier']:<3}{number:>4}" + v["itinerary"] + v["sequence"] + v["service"],
        c15=v["dates"],
        c29=f"{v['days']:<7}" + v["rate"],
        c37=origin + (v["pdep"] or v["dep"]) + v["dep"] + v["depvar"],
        c55=destination + v["arr"] + (v["parr"] or v["arr"]) + v["arrvar"],
        c73=v["type"],
        c128=v["overflow"],
        c149=v["disclosure"],
        c173=v["config"],
        c193=v["variation"],
    )


def about(record: str, dei: int, data: str) -> str:
    """A record 4 that says something about the leg."""
    return columns(c1="4" + record[1:14], c28=record[127], c29=f"AB{dei:03}" + record[36:39] + record[54:57] + data)


def ssim(records: Sequence[str], mode: str = "L", *, carrier: str = "6E", check: int = 0, trailer: bool = True) -> str:
    """A whole file; ``check`` is added to the trailer's count, to make it wrong."""
    lines, serial = [], 0

    def add(record: str) -> None:
        nonlocal serial
        serial += 1
        lines.append(f"{record:<194}{serial:06}"[:200] if len(record) <= 194 else record)

    add(TITLE)
    lines.extend([PADDING] * 4)
    add(columns(c1=f"2{mode}{carrier}", c15="01DEC2631DEC26", c72="P"))
    lines.extend([PADDING] * 4)
    for record in records:
        add(record)
    if trailer:
        lines.append(PADDING)
        add(columns(c1=f"5 {carrier}", c188=f"{serial + check:06}E"))
    return "\n".join(lines) + "\n"
