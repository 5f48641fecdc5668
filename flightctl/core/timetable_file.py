"""Schedule files of either format, told apart by what is in them."""

import gzip
import zlib
from pathlib import Path
from typing import Final

from flightctl.core.errors import ValidationError
from flightctl.core.timetable_csv import read_csv
from flightctl.core.timetable_row import Schedule

FILE_HINT: Final = "Give the path of a schedule file (CSV or SSIM)."
_GZIP_MAGIC: Final = b"\x1f\x8b"
_SSIM_TITLE: Final = b"1AIRLINE STANDARD SCHEDULE"


def read_schedule(path: Path) -> Schedule:
    """A schedule file: CSV (SPEC section 4) or SSIM chapter 7, plain or gzipped.

    Raises ValidationError when the file cannot be read or as a whole not be trusted. A bad row or record is in
    ``rejected`` with its line and the reason, and nothing of it in ``rows``.
    """
    data = _read(path)
    if is_ssim(data):
        from flightctl.core.timetable_ssim import read_ssim

        return read_ssim(path, data)
    return read_csv(path, data)


def is_ssim(data: bytes) -> bool:
    return data[:10_000].lstrip(b"0\r\n").startswith(_SSIM_TITLE)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except FileNotFoundError:
        raise ValidationError(f"{path} does not exist", hint=FILE_HINT) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValidationError(f"{path} is a damaged gzip file", hint="Compress the schedule file again.") from None
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise ValidationError(f"{path} cannot be read: {reason}", hint=FILE_HINT) from None
