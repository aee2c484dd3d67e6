"""Probes as a kubelet sends them, to a process that may not listen yet."""

from __future__ import annotations

import httpx


def probe(port: int, path: str) -> httpx.Response | None:
    """What a process answers at /healthz or /livez; None while nobody listens there."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
    except httpx.HTTPError:
        return None
