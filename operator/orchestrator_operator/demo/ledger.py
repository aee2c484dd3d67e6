"""The shop's books: every request it received and every effect it had, in a SQLite database of its own.

A request and its effect are committed together. A key that was answered before gets the same answer again and has no
second effect: that is what `Idempotency-Key` promises to its callers, and what the demo counts at the end.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REFUSED = 422  # a refusal that no retry changes
CONFLICT = 409

_UNLUCKY_PER_MILLE = 30
_REFUSES_UNLUCKY = frozenset({"/charge", "/quote"})

_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, path TEXT NOT NULL, "order" TEXT NOT NULL, engine TEXT NOT NULL,
  at REAL NOT NULL, status INTEGER NOT NULL, replayed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS effects (
  key TEXT PRIMARY KEY, path TEXT NOT NULL, "order" TEXT NOT NULL, engine TEXT NOT NULL,
  at REAL NOT NULL, answer TEXT NOT NULL, mixed_up INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the shop received it. `engine` is what the caller's X-Orchestrator-Engine said, or "none"."""

    key: str
    path: str
    order: str
    engine: str
    at: float  # Unix seconds
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the shop replies: an HTTP status and a JSON body."""

    status: int
    body: Mapping[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Faults:
    """A switch for the demo: this share of one engine's requests is refused with `status`."""

    engine: str = ""
    share: float = 0.0
    status: int = REFUSED

    def hits(self, call: Call) -> bool:
        """Whether this call is refused: by its key, so that a repeated request meets the same fate."""
        return call.engine == self.engine and _fraction("fault:" + call.key) < self.share


@dataclass(frozen=True, slots=True)
class Summary:
    """The books in numbers. Two of them must be 0: `keys_with_many_effects`, and `doubled["v2"]`."""

    requests: int
    replayed: int
    refused: int
    effects: int
    keys_with_many_effects: int
    doubled: Mapping[str, int]  # by engine: orders to which the same thing was done under two different keys
    mixed_up: Mapping[str, int]  # by engine: effects that cite another order's hold, payment or parcel

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def unlucky(order: str) -> bool:
    """Whether an order is one of the three per cent that the shop refuses, whichever engine brings it."""
    return _fraction("unlucky:" + order) * 1000 < _UNLUCKY_PER_MILLE


def decide(call: Call, faults: Faults) -> Answer:
    """The shop's answer to a call that it sees for the first time. Pure: the key alone makes its references."""
    if faults.hits(call):
        return Answer(
            faults.status, {"error": f"the shop does not understand engine {call.engine}", "order": call.order}
        )
    if call.path in _REFUSES_UNLUCKY and unlucky(call.order):
        return Answer(REFUSED, {"error": f"order {call.order} is refused", "order": call.order})
    reference = f"{call.order}:{sha256(call.key.encode()).hexdigest()[:10]}"
    return Answer(200, {"order": call.order, **_RECEIPTS[call.path](reference)})


def mixed_up(call: Call) -> bool:
    """Whether the call cites a reference that was made for another order: somebody else's context leaked into it."""
    cited = (call.body.get(name) for name in ("hold", "receipt", "parcel"))
    return any(isinstance(reference, str) and reference.split(":")[0] != call.order for reference in cited)


_RECEIPTS: Mapping[str, Any] = {
    "/reserve": lambda reference: {"hold": reference},
    "/charge": lambda reference: {"receipt": reference},
    "/ship": lambda reference: {"parcel": reference},
    "/notify": lambda reference: {"notice": reference},
    "/quote": lambda reference: {"quote": reference, "price": 500 + round(2500 * _fraction(reference))},
}

PATHS = tuple(_RECEIPTS)


def _fraction(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64


class Ledger:
    """The books. Not for concurrent use: the shop calls it from one thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        # NORMAL loses nothing when the process dies, and the demo's machine is not going to lose power.
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    def record(self, call: Call, faults: Faults) -> Answer:
        """Answer a call and commit what it did, both in one transaction."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            answer = self._answered(call) or self._new(call, faults)
            self._database.execute(
                'INSERT INTO requests (key, path, "order", engine, at, status, replayed) VALUES (?,?,?,?,?,?,?)',
                (call.key, call.path, call.order, call.engine, call.at, answer.status, answer.replayed),
            )
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return answer

    def _answered(self, call: Call) -> Answer | None:
        row = self._database.execute("SELECT path, answer FROM effects WHERE key = ?", (call.key,)).fetchone()
        if row is None:
            return None
        if row[0] != call.path:
            return Answer(CONFLICT, {"error": f"key {call.key} was used for {row[0]}", "order": call.order})
        return Answer(200, json.loads(row[1]), replayed=True)

    def _new(self, call: Call, faults: Faults) -> Answer:
        answer = decide(call, faults)
        if answer.status == 200:  # noqa: PLR2004 - HTTP's OK
            self._database.execute(
                'INSERT INTO effects (key, path, "order", engine, at, answer, mixed_up) VALUES (?,?,?,?,?,?,?)',
                (call.key, call.path, call.order, call.engine, call.at, json.dumps(answer.body), mixed_up(call)),
            )
        return answer

    def summary(self) -> Summary:
        """The books in numbers, as of now."""
        requests, replayed, refused = self._row("SELECT count(*), sum(replayed), sum(status >= 400) FROM requests")
        (effects,) = self._row("SELECT count(*) FROM effects")
        (many,) = self._row("SELECT count(*) FROM (SELECT 1 FROM effects GROUP BY key HAVING count(*) > 1)")
        return Summary(
            requests=requests,
            replayed=replayed or 0,
            refused=refused or 0,
            effects=effects,
            keys_with_many_effects=many,
            doubled=self._by_engine(
                "SELECT engine, count(*) FROM (SELECT engine FROM effects WHERE path <> '/quote'"
                ' GROUP BY engine, "order", path HAVING count(*) > 1) GROUP BY engine'
            ),
            mixed_up=self._by_engine("SELECT engine, sum(mixed_up) FROM effects GROUP BY engine"),
        )

    def effect_keys(self) -> list[str]:
        """The keys under which something was done."""
        return [key for (key,) in self._database.execute("SELECT key FROM effects")]

    def _row(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._database.execute(query).fetchone()
        return row

    def _by_engine(self, query: str) -> dict[str, int]:
        return {"v1": 0, "v2": 0} | {engine: int(count) for engine, count in self._database.execute(query)}
