"""Secrets by reference: a workflow names one, a worker reads it when a step needs it, and no store ever sees its value.

    workflow: {secret: shop-api, key: token} ─▶ Secrets ─▶ SecretSource ─▶ <folder>/<namespace>/shop-api/token
                                                   └────▶ masks.py, before anybody has the value

A folder is what Kubernetes makes of mounted Secrets, and what anybody can make without Kubernetes. The key `hosts` of a
Secret is no credential: it lists where `http` nodes may send the others (see nodes/http_auth.py).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import InvalidInput, Problem, StepError
from orchestrator.masks import MASKS, SHORTEST, Masks

if TYPE_CHECKING:
    from pathlib import Path

SETTING = "ORCHESTRATOR_SECRETS"
NAMESPACES = "ORCHESTRATOR_SECRET_NAMESPACES"
HOSTS = "hosts"  # the key that lists where the other keys' values may be sent
LARGEST = 16 * 1024  # bytes of a value
_LONGEST_NAME = 253
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 label
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")  # RFC 1123 subdomain
_KEY = re.compile(r"(?!\.\.)(?!\.$)[A-Za-z0-9._-]+")  # as Kubernetes has it: neither `.` nor anything that begins `..`
_ATTEMPTS = 3  # to read from a folder that is being replaced meanwhile


@dataclass(frozen=True, slots=True)
class Secret:
    """A value, and the hosts that it may be sent to: entries as the Secret's `hosts` has them."""

    value: str = field(repr=False)
    hosts: tuple[str, ...] = ()


class SecretSource(Protocol):
    """Where secrets come from. Called from the event loop and from threads, so it must answer at once."""

    def read(self, namespace: str, name: str, key: str) -> Secret:
        """The newest value; raises StepError `SecretMissing` or `SecretUnusable`. All three names were checked."""


class Secrets:
    """What nodes ask. Checks the names, and has every value masked before anybody gets it."""

    def __init__(self, source: SecretSource | None = None, masks: Masks = MASKS) -> None:
        self._source, self.masks = source, masks

    def read(self, namespace: str, name: str, key: str) -> Secret:
        """The secret of that name in the execution's own namespace.

        Raises StepError: `SecretsOff` if this worker has none at all, `SecretMissing` (retryable: it may be mounted
        later), `SecretUnusable` (a name, a value or a file that no retry would mend).
        """
        if not _NAMESPACE.fullmatch(namespace):
            raise unusable(f"namespace {namespace!r} is none that could have secrets (RFC 1123 label)")
        try:
            check_name(name)
            check_key(key)
        except ValueError as error:
            raise unusable(f"secret {name!r}, key {key!r}: {error}") from None
        if self._source is None:
            raise StepError(
                "SecretsOff",
                f"the step needs {shown(namespace, name, key)}, and this worker has no secrets; set {SETTING} to the "
                "folder in which they are mounted as namespace/name/key",
                retryable=False,
            )
        secret = self._source.read(namespace, name, key)
        if len(secret.value) < SHORTEST:
            raise unusable(
                f"{shown(namespace, name, key)} has fewer than {SHORTEST} characters: masked everywhere, it would blot "
                "out harmless data; use a longer one, and write a short user name into the workflow as text"
            )
        self.masks.add(secret.value)
        return secret

    def value(self, namespace: str, name: str, key: str) -> str:
        """The value alone, for code that is trusted with it wherever it sends it; raises as `read`."""
        return self.read(namespace, name, key).value


class SecretFolder:
    """`<folder>/<namespace>/<name>/<key>`, read anew each time, so that a rotation needs no restart."""

    def __init__(self, folder: Path, namespaces: str = "") -> None:
        """`namespaces`: those whose executions get any, separated by commas; none named: all that are mounted.

        Raises InvalidInput if there is no such folder, or if one of the names is no namespace's.
        """
        if not folder.is_dir():
            raise InvalidInput([Problem(SETTING, f"{str(folder)!r} is no folder")])
        self._folder = folder
        self._namespaces = _listed(namespaces)

    def read(self, namespace: str, name: str, key: str) -> Secret:
        if self._namespaces and namespace not in self._namespaces:
            raise StepError(
                "SecretRefused",
                f"{shown(namespace, name, key)} is given to nobody: {NAMESPACES} of this worker lists "
                f"{', '.join(sorted(self._namespaces))}",
                retryable=False,
            )
        folder = self._folder / namespace / name
        for _ in range(_ATTEMPTS):
            # Kubernetes replaces all keys at once, by the link `..data`: a value and its hosts are of one version.
            version, failure = _version(folder), None
            try:
                value = _read(version / key)
                hosts = _read(version / HOSTS) if (version / HOSTS).exists() else ""
            except OSError as error:
                failure = _missing(namespace, name, key, error)
            except ValueError as error:
                raise unusable(f"{shown(namespace, name, key)} {error}") from None
            if _version(folder) != version:
                continue
            if failure is not None:
                raise failure
            return Secret(value.rstrip("\r\n"), tuple(hosts.replace(",", " ").split()))
        raise _missing(namespace, name, key, OSError(errno.EAGAIN, "it is being replaced"))


def _listed(text: str) -> frozenset[str]:
    names = [part for part in (part.strip() for part in text.split(",")) if part]
    wrong = [
        Problem(NAMESPACES, f"{name!r} is no namespace's name") for name in names if not _NAMESPACE.fullmatch(name)
    ]
    if wrong or (text.strip() and not names):  # a list that means nobody must not be taken for everybody
        raise InvalidInput(wrong or [Problem(NAMESPACES, f"{text!r} names no namespace")])
    return frozenset(names)


def check_name(name: str) -> str:
    """A Secret's name as Kubernetes takes it; raises ValueError."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError("must be a Secret's name (a-z, 0-9, - and .), and no expression")
    return name


def check_key(key: str) -> str:
    """A key of a Secret that may be a credential; raises ValueError."""
    if len(key) > _LONGEST_NAME or not _KEY.fullmatch(key):
        raise ValueError("must be a key of a Secret (letters, digits, -, _ and .), and no expression")
    if key == HOSTS:
        raise ValueError(f"the key {HOSTS!r} lists where the others may be sent; it is no credential")
    return key


def shown(namespace: str, name: str, key: str) -> str:
    """A secret for a message: where it is, never what."""
    return f"key {key!r} of the secret {name!r} in namespace {namespace!r}"


def unusable(message: str) -> StepError:
    """The error of a secret that no retry would mend."""
    return StepError("SecretUnusable", message, retryable=False)


def _missing(namespace: str, name: str, key: str, error: OSError) -> StepError:
    reason = "is not there (yet)" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    where = f"mount it as {namespace}/{name}/{key} in the folder of {SETTING}"
    return StepError("SecretMissing", f"{shown(namespace, name, key)} {reason}; {where}", retryable=True)


def _version(folder: Path) -> Path:
    try:
        return folder / (folder / "..data").readlink()
    except OSError:  # a plain folder
        return folder


def _read(path: Path) -> str:
    """The text of a file; raises OSError, and ValueError for what is no text of a secret's size."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold the worker
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is no file")
        content = b""
        while more := os.read(handle, LARGEST + 1 - len(content)):
            content += more
    finally:
        os.close(handle)
    if len(content) > LARGEST:
        raise ValueError(f"has more than {LARGEST} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None
    if "\x00" in text:
        raise ValueError("contains a NUL character")
    return text
