"""Limits of one document: what screening and rendering may cost before they give up."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings for one document. Sizes in bytes, times in seconds; crossing one is a verdict, never a crash.

    `max_expansion` is the ratio expanded/packed above which a container (DOCX, ODT) is taken for a decompression bomb.
    """

    max_bytes: int = 256 * _MIB
    max_pages: int = 5_000
    max_pixels: int = 200_000_000
    max_expansion: int = 200
    max_members: int = 10_000
    memory_bytes: int = 2048 * _MIB
    base_seconds: float = 20.0
    seconds_per_page: float = 2.0
    cap_seconds: float = 120.0

    def wall_seconds(self, pages: int) -> float:
        """Give the wall time allowed for a document of `pages` pages."""
        return min(self.cap_seconds, self.base_seconds + self.seconds_per_page * pages)
