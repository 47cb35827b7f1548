"""What of an instance is a stand-in for trials: said by `doctor`, and refused where the settings say `production`."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from minutier.errors import PolicyRefusedError
from storage.settings import Settings


def stand_ins(settings: Settings) -> list[str]:
    """Name the parts that have no legal value, or protect from nothing, in a few words each."""
    found = []
    if not settings.clamd:
        found.append("no antivirus (clamd)")
    if settings.seal_certificate is None:
        found.append("the seal of the development authority (seal_certificate)")
    if not settings.tsa_urls or any(_is_local(url) for url in settings.tsa_urls):
        found.append("the development time-stamp authority (tsa_urls)")
    if any(replica.startswith("dir:") for replica in settings.replicas):
        found.append("a directory as a replica, which locks nothing (replicas)")
    if len(settings.replicas) < 2:
        found.append("one replica only (replicas)")
    if any(replica.startswith("s3+http:") for replica in settings.replicas):
        found.append("a replica in clear over the network (replicas)")
    return found


def require_production(settings: Settings) -> None:
    """Raise PolicyRefusedError (`NOT_FOR_PRODUCTION`) where the settings say `production` and a stand-in is left."""
    if settings.production and (found := stand_ins(settings)):
        raise PolicyRefusedError(
            "NOT_FOR_PRODUCTION",
            f"The settings say production, and this is a stand-in for trials: {'; '.join(found)}.",
            remedy="Name the real ones in minutier.toml (docs/operations.md), or take `production` out. Deposits wait.",
            clause="NF Z42-013:2020 §7",
        )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
