"""What `minutier doctor` says of one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `level`: ok, warning (works, but), missing (a feature does not work)."""

    name: str
    level: str
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give the JSON form."""
        return asdict(self)
