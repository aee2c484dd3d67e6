"""The page of metrics, and the probes, of a process of the command line."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from orchestrator.endpoint import Endpoint
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orchestrator.health import Health


@asynccontextmanager
async def serving(
    health: Health, port: int, address: str, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[None]:
    """Serve /metrics, /healthz and /livez of this process; raises OrchestratorError for a port in use."""
    endpoint = Endpoint(health, registry)
    try:
        with _naming_the_option(port, address):
            await endpoint.serve(address, port)
        yield
    finally:
        await endpoint.aclose()


def serve_metrics(port: int, address: str) -> None:
    """Serve /metrics of this process; raises OrchestratorError for a port in use."""
    with _naming_the_option(port, address):
        start_http_server(port, address)


@contextmanager
def _naming_the_option(port: int, address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        raise OrchestratorError(f"--metrics-port: cannot listen on {address}:{port}: {error}") from None
