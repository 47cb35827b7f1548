"""The API of the Prefect server of an embedded instance, as the pages use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from deployments import instance as embedded
from storage.settings import load_settings


def api(home: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    url = embedded.prefect_api_url(load_settings(home, {}))
    answer = httpx.request(method, f"{url}{path}", json=body, timeout=30).raise_for_status()
    return answer.json() if answer.content else None


@contextmanager
def paused(home: Path, deployment: str) -> Iterator[None]:
    """Keep the schedule of a deployment (`flow/name`) from starting a run."""
    number = api(home, "GET", f"/deployments/name/{deployment}")["id"]
    api(home, "POST", f"/deployments/{number}/pause_deployment")
    try:
        yield
    finally:
        api(home, "POST", f"/deployments/{number}/resume_deployment")
