"""Something between the operator and the real Prometheus that spoils its answers in the way that a test asks for."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AGE = "time() - "  # how the question for the age of the samples begins
_MANY = 6000  # series
_OLD = 1000.0  # seconds
_WITHIN = 30.0  # seconds that an answer is held back at most


def _values(answer: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """An instant vector with each sample changed."""
    data = answer["data"]
    if data["resultType"] == "vector":
        data["result"] = [change(item) for item in data["result"]]
    return answer


def _empty(answer: Any, _: str) -> Any:
    answer["data"]["result"] = []
    return answer


def _nan(answer: Any, query: str) -> Any:
    if query.startswith(_AGE):
        return answer
    return _values(answer, lambda item: {**item, "value": [item["value"][0], "NaN"]})


def _stale(answer: Any, query: str) -> Any:
    """As of a server whose scrapes stand still: what asks for the age of samples is told how old they are."""
    if not query.startswith(_AGE):
        return answer
    return _values(answer, lambda item: {**item, "value": [item["value"][0], str(float(item["value"][1]) + _OLD)]})


def _error(_: Any, __: str) -> Any:
    return {"status": "error", "errorType": "internal", "error": "the store of the samples is broken"}


def _many(_: Any, __: str) -> Any:
    series = [{"metric": {"pod": str(number)}, "value": [1.0, "1"]} for number in range(_MANY)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


#: By name: what becomes of an answer, and words of what the rollout must say to it.
SPOILED: dict[str, tuple[Callable[[Any, str], Any], str]] = {
    "empty": (_empty, "does it scrape the operator?"),
    "nan": (_nan, "not a count"),
    "stale": (_stale, "old"),
    "error": (_error, "the store of the samples is broken"),
    "many": (_many, f"{_MANY} series, at most 5000"),
}
#: Those where no answer comes to its end.
WAYS = {name: word for name, (_, word) in SPOILED.items()} | {
    "slow": "does not answer",
    "cut": "does not answer",
}


class CrookedPrometheus:
    """Forwards what it is asked; `way` is one of WAYS, or "" for straight answers."""

    def __init__(self, upstream: str) -> None:
        self._upstream, self._way, self._changed = upstream, "", threading.Event()
        self._client = httpx.Client(base_url=upstream, timeout=30, trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.turn("")
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def turn(self, way: str) -> None:
        """From the next question on; what is held back is never answered."""
        self._way = way
        self._changed.set()
        self._changed = threading.Event()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        crooked = self

        class Page(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                way, changed = crooked._way, crooked._changed
                if way == "slow":  # too late is never: whoever asked has given up
                    changed.wait(_WITHIN)
                    self.close_connection = True
                    return
                status, answer = crooked._answer(self.path, body, way)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.close_connection = way == "cut"
                self.wfile.write(answer[: len(answer) // 2] if way == "cut" else answer)

            def log_message(self, *_: Any) -> None:
                """Nothing: a query is no news."""

        return Page

    def _answer(self, path: str, body: bytes, way: str) -> tuple[int, bytes]:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        said = self._client.post(path, content=body, headers=kind)
        if way not in SPOILED or not said.is_success:
            return said.status_code, said.content
        query = httpx.QueryParams(body.decode()).get("query", "")
        return 200, json.dumps(SPOILED[way][0](said.json(), query)).encode()
