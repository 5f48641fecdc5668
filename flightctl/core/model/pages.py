"""Lists."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first. ``content`` holds model records."""

    content: tuple[object, ...]
    page: int
    size: int
    total_elements: int
