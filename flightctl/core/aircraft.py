"""Seats of aircraft: by type, and from the configuration that a schedule gives."""

import re
from typing import Final

AIRCRAFT_SEATS: Final[dict[str, int]] = {
    **{"32A": 180, "32B": 220, "32N": 186, "32Q": 232, "32S": 180, "20N": 186, "21N": 232, "BCS": 125, "CS1": 110},
    **{"CS3": 135, "73G": 149, "73H": 189, "73J": 189, "73W": 149, "7M8": 189, "7M9": 204, "74H": 410, "76W": 260},
    **{"77L": 302, "77W": 350, "AT4": 48, "AT5": 50, "AT7": 72, "ATR": 70, "AT6": 70, "DH4": 78, "DH8": 50},
    **{"DHT": 19, "DH3": 50, "E70": 76, "E75": 82, "E7W": 88, "E90": 100, "E95": 118, "ER4": 50, "CR2": 50},
    **{"CR7": 70, "CR9": 90, "CRK": 100, "SU9": 100, "SF3": 34, "J41": 29, "BE1": 19, "CNC": 9, "CNA": 9},
}
"""Usual one-class seats by IATA aircraft type (SSIM appendix A), for common types that have a letter: digits alone are
a number of seats, also where a type is written so (320)."""

TYPE_SEATS: Final[dict[str, int]] = {
    **{"100": 100, "141": 80, "142": 90, "143": 100, "146": 90, "220": 120, "221": 110, "223": 135, "290": 98},
    **{"295": 120, "310": 220, "313": 220, "318": 107, "319": 144, "320": 180, "321": 220, "330": 290, "332": 278},
    **{"333": 300, "338": 257, "339": 287, "340": 295, "342": 250, "343": 295, "345": 313, "346": 380, "350": 325},
    **{"351": 366, "359": 325, "380": 525, "388": 525, "717": 117, "721": 150, "722": 150, "732": 115, "733": 149},
    **{"734": 168, "735": 132, "736": 123, "737": 149, "738": 189, "739": 189, "742": 400, "743": 400, "744": 416},
    **{"747": 416, "74E": 400, "752": 200, "753": 243, "757": 200, "762": 216, "763": 269, "764": 304, "767": 269},
    **{"772": 314, "773": 368, "777": 350, "779": 400, "781": 330, "787": 242, "788": 242, "789": 290, "M11": 290},
    **{"M81": 140, "M82": 155, "M83": 155, "M87": 130, "M88": 149, "M90": 160, "AB3": 250, "AB6": 266, "ILW": 350},
    **{"SU1": 87, "SU9": 100, "CRJ": 50, "ERJ": 50, "EMJ": 100, "F50": 50, "F70": 80, "S20": 50, "D28": 19},
}
"""Those of the types that SSIM files name by digits, and some more; used with AIRCRAFT_SEATS."""


def seats_of_type(aircraft: str) -> int | None:
    """Usual seats of an IATA aircraft type, None for one that is not known."""
    return AIRCRAFT_SEATS.get(aircraft) or TYPE_SEATS.get(aircraft)


_CABIN: Final = re.compile(
    r"(?P<cargo>LL|PP)[0-9]{0,4}|(?P<version>VV)|(?P<cabin>[A-Z])(?P<seats>[0-9]{0,4})", re.ASCII
)


def seats_of_configuration(text: str) -> int | None:
    """Passengers' seats of an SSIM configuration: ``W18Y112VV112`` has 130; None where it tells no number of seats.

    Cabins are a letter and a number; LL and PP count containers and pallets; what follows VV names the version.
    Raises ValueError for what is no configuration.
    """
    seats, at, wanted = 0, 0, text.strip()
    while at < len(wanted):
        found = _CABIN.match(wanted, at)
        if found is None:
            raise ValueError(f"{text.strip()!r} is not an aircraft configuration")
        if found["version"]:
            break
        seats += int(found["seats"] or 0)
        at = found.end()
    return seats or None
