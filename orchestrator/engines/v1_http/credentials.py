"""Credentials of V1 behind HTTP: read from files, sent, masked, and never stored or logged.

The token of a callback is made of a secret and the execution's id. So nothing is kept for it, every worker that has the
secret can check it, and a token that leaks opens one execution alone.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import InvalidInput, Problem
from orchestrator.masks import MASKS, SHORTEST, Masks

_CONTEXT: Final = b"orchestrator v1 callback\x00"  # no other use of the same secret makes the same token
_SHORTEST_SECRET = 32  # characters


class TokenFile:
    """The credential for the legacy endpoint. The file is read anew for each request: it may be rotated."""

    def __init__(self, path: str | None, header: str) -> None:
        self._path, self._header = path, header

    def headers(self) -> dict[str, str]:
        """The header to send, its value masked from now on; raises InvalidInput for a file that cannot be used."""
        if self._path is None:
            return {}
        token = _text("ORCHESTRATOR_V1_TOKEN_FILE", self._path).strip()
        if len(token) < SHORTEST or not token.isascii() or not token.isprintable():
            message = f"must hold one line of printable ASCII, {SHORTEST} characters at least"
            raise InvalidInput([Problem("ORCHESTRATOR_V1_TOKEN_FILE", message)])
        scheme, _, credential = token.rpartition(" ")
        for secret in (token, credential):
            if len(secret) >= SHORTEST:
                MASKS.add(secret)
        bare = self._header.lower() == "authorization" and not scheme
        return {self._header: f"Bearer {token}" if bare else token}


class CallbackTokens:
    """Makes and checks the tokens of callbacks."""

    def __init__(self, path: str) -> None:
        secrets = [line.strip() for line in _text("ORCHESTRATOR_V1_CALLBACK_SECRET_FILE", path).splitlines()]
        secrets = [secret for secret in secrets if secret]
        if not secrets or min(map(len, secrets)) < _SHORTEST_SECRET:
            message = f"must hold a secret of at least {_SHORTEST_SECRET} characters a line"
            raise InvalidInput([Problem("ORCHESTRATOR_V1_CALLBACK_SECRET_FILE", message)])
        for secret in secrets:
            MASKS.add(secret)
        self._secrets = [secret.encode() for secret in secrets]

    def make(self, execution_id: str) -> str:
        """The token that lets its holder say how this execution ended."""
        return _token(self._secrets[0], execution_id)

    def accepts(self, execution_id: str, token: str) -> bool:
        """Whether a token is this execution's; takes as long for a wrong one as for a right one."""
        given = token.encode(errors="replace")
        # A list: every secret is tried, whichever fits.
        return any([hmac.compare_digest(_token(secret, execution_id).encode(), given) for secret in self._secrets])  # noqa: C419 - as the comment says


def without_token(value: Any, token: str) -> Any:
    """A JSON value without an execution's own token. There are too many of them for the masks of the process."""
    masks = Masks()
    masks.add(token)
    return masks.json(value)


def _token(secret: bytes, execution_id: str) -> str:
    return hmac.new(secret, _CONTEXT + execution_id.encode(errors="replace"), hashlib.sha256).hexdigest()


def _text(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput([Problem(variable, f"cannot read {path}: {why}")]) from None
