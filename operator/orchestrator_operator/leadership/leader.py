"""Takes the Lease, renews it, and knows at every moment whether this process may still act.

Why not the election of the Kubernetes client: it counts by the wall clock, which can be set back, writes local time as
UTC, never gives the Lease back, and cannot say whether it still leads. A process that was stopped for a minute goes on
in the middle of a write; here each write asks `check` first.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound
from orchestrator_operator.adapters.leases import Leases
from orchestrator_operator.leadership.metrics import LEADER
from orchestrator_operator.leadership.record import (
    ASKS,
    Next,
    Record,
    decide,
    identity,
    leads_until,
    read,
    released,
    taken,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.clock import Clock
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.settings import Settings

_RENEWALS = 6  # in a Lease's duration: several may be lost before it is
_FAREWELL = 1.0  # seconds for the work of one that leads no more

_log = structlog.get_logger(__name__)


class Deposed(KubernetesError):
    """This process does not lead (any more), so it may write nothing."""


def boot_time() -> float:
    """Seconds since the machine started, those in which it slept included: nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leader:
    """One candidate. `take` it, `keep` it, `give_back`; `check` before every write."""

    def __init__(self, leases: Leases, me: str, duration: int, clock: Clock) -> None:
        self.me = me
        self._leases, self._duration, self._clock = leases, duration, clock
        self._every = duration / _RENEWALS
        self._record: Record | None = None
        self._until = 0.0  # of boot_time
        self._successor = ""  # who asked for what we cannot use
        self.contact: Callable[[], None] = lambda: None  # called whenever the Lease was read or written
        self.lacks: Callable[[], str] = lambda: ""  # what this process cannot do its work without, in words
        self.able: Callable[[], Awaitable[bool]] = _able  # whether it has what a leader may lack

    @property
    def leads(self) -> bool:
        return boot_time() < self._until

    def check(self) -> None:
        """Raises Deposed unless this process leads."""
        if not self.leads:
            raise Deposed(f"{self.me} does not lead: another operator may act by now")

    @classmethod
    def build(cls, settings: Settings, kubernetes: Kubernetes, clock: Clock) -> Leader:
        """The candidate that the settings describe."""
        nonce = secrets.token_hex(4)
        name = settings.identity or f"{socket.gethostname()}-{nonce}"
        leases = Leases(kubernetes, settings.namespace, settings.lease_name)
        return cls(leases, identity(name, nonce), settings.lease_duration, clock)

    async def lead(self, act: Callable[[], Awaitable[None]]) -> None:
        """Wait until this process leads, and act; raises what `act` raises, and Deposed when it leads no more.

        One that hands over ends what it is about before it gives the Lease back.
        """
        await self.take()

        async def acted() -> None:
            await act()

        acting, keeping = asyncio.create_task(acted(), name="act"), asyncio.create_task(self.keep(), name="keep")
        try:
            await asyncio.wait({acting, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():
                keeping.result()  # raises what nobody foresaw
                why = f"{self._successor} asked for it: {self.lacks()}" if self._successor else "it was not renewed"
                _log.error("this operator leads no more", identity=self.me, why=why)
                raise Deposed(f"{self.me} leads no more, {why}")
            await acting
        finally:
            acting.cancel()
            await self._ended(acting)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self.give_back()

    async def _ended(self, acting: asyncio.Task[None]) -> None:
        """Wait for what is under way as long as this process leads: after that it would be refused."""
        while True:
            await asyncio.wait({acting}, timeout=max(_FAREWELL, self._until - boot_time()))
            if acting.done() or not self.leads:
                return

    async def take(self) -> None:
        """Wait until this process leads."""
        known, first, seen = "", "", 0.0
        LEADER.set(0)
        while True:
            asked = boot_time()
            try:
                record = await self._read()
                if record is not None and record.version != first:
                    first, seen = record.version, boot_time()
                then = Next.TAKE if record is None else decide(record, self.me, seen, boot_time())
                if then is Next.TAKE:
                    asked = boot_time()
                    await self._write(record, asked)
                    LEADER.set(1)
                    _log.info("this operator leads", identity=self.me, lease=self._leases.name)
                    return
                if record is not None and record.holder != known:
                    known = record.holder
                    _log.info("another operator leads; this one waits", identity=self.me, leader=known)
                if record is not None and then is Next.ASK and await self.able():
                    await self._leases.note(record.version, {ASKS: self.me})
                    _log.warning("asked the leader for the Lease", leader=known, lacks=record.lacks)
            except Conflict:
                pass  # another candidate was quicker
            except KubernetesError as error:
                _log.warning("the Lease cannot be read or taken yet", lease=self._leases.name, error=str(error))
            await asyncio.sleep(self._every)

    async def keep(self) -> None:
        """Renew until the Lease is lost, or is to be handed over; returns then.

        A server that is away is asked again until it is too late.
        """
        while self.leads and not self._successor:
            await asyncio.sleep(self._every)
            asked = boot_time()
            try:
                async with asyncio.timeout(max(0.0, self._until - boot_time())):
                    await self._renew(asked)
            except (KubernetesError, TimeoutError) as error:
                _log.warning(
                    "the Lease was not renewed",
                    left=round(self._until - boot_time(), 1),
                    error=str(error) or "no answer",
                )
        LEADER.set(0)

    async def give_back(self) -> None:
        """Let the next one lead at once. What fails here costs that one the Lease's duration and nothing else."""
        record = self._record if self.leads else None
        self._until = 0.0
        LEADER.set(0)
        if record is None:
            return
        try:
            await self._leases.replace(released(self._clock.now()), record.version, told(""))
        except KubernetesError as error:
            _log.warning("the Lease was not given back", error=str(error))

    async def _renew(self, asked: float) -> None:
        try:
            await self._write(self._record, asked)
        except (Conflict, NotFound):
            # Our own write whose answer was lost, somebody's annotation, a deletion; or another one leads.
            self._record = await self._read()
            if self._record is None:
                return
            if self._record.holder != self.me:
                self._until = 0.0
                _log.error("another operator took the Lease", leader=self._record.holder)
            elif self._record.asks and self.lacks():
                self._successor = self._record.asks

    async def _read(self) -> Record | None:
        try:
            found = read(await self._leases.get())
        except NotFound:
            found = None
        self.contact()
        return found

    async def _write(self, record: Record | None, asked: float) -> None:
        spec = taken(record, self.me, self._duration, self._clock.now())
        body: dict[str, Any]
        if record is None:
            body = await self._leases.create(spec)
        else:
            body = await self._leases.replace(spec, record.version, told(self.lacks()))
        self._record, self._until = read(body), leads_until(asked, self._duration)
        self.contact()


async def _able() -> bool:
    """Nothing that a leader lacks is had here."""
    return False
