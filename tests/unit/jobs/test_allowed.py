"""What the administrator's settings let containers be and get."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator_operator.jobs.allowed import check_allowed, image_fits
from orchestrator_operator.jobs.settings import JobSettings

from orchestrator.errors import InvalidInput, StepError
from orchestrator.nodes.container import ContainerNode

KEYS = {"volumes": [{"name": "k", "mountPath": "/k", "secret": "keys"}]}
TOKEN = {"env": {"T": {"secret": "api", "key": "token"}}}
CLAIM = {"volumes": [{"name": "d", "mountPath": "/d", "claim": "orchestrator-store"}]}
ACCOUNT = {"serviceAccount": "charger"}


def check(fields: dict[str, Any], **settings: str) -> None:
    chosen = JobSettings.read({f"ORCHESTRATOR_CONTAINER_{name.upper()}": text for name, text in settings.items()})
    check_allowed(ContainerNode.parse({"image": "shop/box:1", **fields}), "shop", chosen)


@pytest.mark.parametrize(
    ("fields", "setting"),
    [(KEYS, "SECRETS"), (TOKEN, "SECRETS"), (ACCOUNT, "ACCOUNTS"), (CLAIM, "CLAIMS")],
    ids=["volume", "env", "account", "claim"],
)
def test_secrets_accounts_and_claims_are_refused_unless_they_are_listed(fields: dict[str, Any], setting: str) -> None:
    with pytest.raises(StepError, match=f"ORCHESTRATOR_CONTAINER_{setting}") as refused:
        check(fields, secrets="bank/api,bank/keys,shop/other", accounts="bank/charger", claims="bank/*")
    assert (refused.value.kind, refused.value.retryable) == ("ContainerRefused", False)
    check(fields, secrets="shop/api,shop/k*", accounts="shop/charger", claims="shop/orchestrator-store")


@pytest.mark.parametrize(
    ("image", "entry", "fits"),
    [
        ("registry.example/shop/box:1", "registry.example/shop", True),
        ("registry.example/shop/box:1", "registry.example/", True),
        ("registry.example/shop/box:1", "registry.example/shop/box", True),
        ("registry.example/shop/box@sha256:0", "registry.example/shop/box", True),
        ("registry.example/shopping/box:1", "registry.example/shop", False),
        ("registry.example:5000/shop/box:1", "registry.example", False),
        ("registry.example.evil/shop/box:1", "registry.example", False),
        ("box:1", "box", True),
        ("box", "box:1", False),
    ],
)
def test_an_image_fits_by_whole_parts_of_its_name(image: str, entry: str, fits: bool) -> None:
    assert image_fits(image, entry) is fits


def test_an_image_that_is_not_listed_is_refused() -> None:
    with pytest.raises(StepError, match="ORCHESTRATOR_CONTAINER_IMAGES"):
        check({}, images="registry.example/shop")
    check({}, images="registry.example/shop, shop/")
    check({})


@pytest.mark.parametrize(
    ("name", "text"), [("secrets", "api"), ("accounts", "shop/*x"), ("grace", "soon"), ("kept", "90d")]
)
def test_a_setting_that_cannot_be_understood_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=f"ORCHESTRATOR_CONTAINER_{name.upper()}"):
        JobSettings.read({f"ORCHESTRATOR_CONTAINER_{name.upper()}": text})
