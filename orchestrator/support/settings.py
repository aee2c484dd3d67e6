"""Every setting with its value here, without what is secret in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import InvalidInput, OrchestratorError
from orchestrator.flag import KEYS
from orchestrator.masks import MASK
from orchestrator.settings import Settings
from orchestrator.store.open import database_url, without_secrets
from orchestrator.support.bundle import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.settings import Described
    from orchestrator.support.bundle import Bundle

_DATABASES = ("ORCHESTRATOR_DATABASE", "ORCHESTRATOR_V1_TABLE_DATABASE")


def settings_section(
    environment: Mapping[str, str],
    described: Sequence[Described],
    readers: Sequence[Callable[[Mapping[str, str]], object]] = (Settings.read,),
) -> Section:
    """The settings of this process; `readers` say what is wrong with them."""

    async def collect(bundle: Bundle) -> None:
        known = {setting.variable: setting for setting in described}
        ours = {name for name in environment if name.startswith(("ORCHESTRATOR_", "USE_ORCHESTRATOR_"))}
        bundle.add(
            "settings.json",
            {
                "settings": [_setting(setting, environment.get(setting.variable)) for setting in known.values()],
                "flag": {key: environment.get(key) for key in KEYS},
                "unknown": sorted(ours - known.keys() - set(KEYS)),  # names alone
                "problems": [problem for reader in readers for problem in _problems(reader, environment)],
            },
        )

    return Section("settings", "reading settings", collect)


def _setting(setting: Described, value: str | None) -> dict[str, Any]:
    shown = None if value is None else _shown(setting.variable, value)
    return {"variable": setting.variable, "value": shown, "default": setting.default}


def _shown(variable: str, value: str) -> str:
    if variable in _DATABASES:
        try:
            return without_secrets(database_url(value))
        except OrchestratorError:
            return MASK
    if "://" in value:  # a credential may stand in its path's place, its user's or its query
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}/…"
    return value


def _problems(read: Callable[[Mapping[str, str]], object], environment: Mapping[str, str]) -> list[str]:
    try:
        read(environment)
    except InvalidInput as error:
        return [str(problem).partition(" (got ")[0] for problem in error.problems]  # what it got may be a secret
    return []
