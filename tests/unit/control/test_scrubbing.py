"""What leaves in a support bundle: known secrets never, what looks like one neither, the rest as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.masks import SHORTEST, Masks
from orchestrator.support import Scrubber, known_secrets

if TYPE_CHECKING:
    from pathlib import Path

NOTHING_KNOWN = Scrubber(Masks())
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=SHORTEST, max_size=40).filter(
    lambda text: "*" not in text and any(character.isalnum() for character in text)
)


@given(before=texts, secret=secrets, after=texts)
def test_a_known_secret_is_in_no_text(before: str, secret: str, after: str) -> None:
    masks = Masks()
    masks.add(secret)
    assert secret not in Scrubber(masks).text(before + secret + after)


@given(secret=secrets, key=texts)
def test_a_known_secret_is_in_no_json_as_a_key_a_value_or_deep_within(secret: str, key: str) -> None:
    masks = Masks()
    masks.add(secret)
    text = Scrubber(masks).json({key: [{"deep": secret}, secret], f"a{secret}": 1})
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    json.loads(text)


SECRETS = [
    "postgresql://ada:{}@db:5432/shop",
    "https://{}@github.example/repo.git",
    "https://hooks.slack.com/services/T0/B0/{}",
    "Authorization: Bearer {}",
    "authorization: {}",
    '{{"headers": {{"Authorization": "Basic {}"}}}}',
    '{{"api_key": "{}"}}',
    "{{'clientSecret': '{}'}}",
    'said: "{{\\"password\\": \\"{}\\"}}"',
    "password={} user=ada",
    "DB_PASSWORD: {}",
    "X-Api-Key: {}",
    "Set-Cookie: {}; Path=/",
    "GET /a?access_token={}&b=1",
    "GET /a?sig={}",
    "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}",
]


@pytest.mark.parametrize("form", SECRETS)
def test_what_looks_like_a_secret_is_blotted_out(form: str) -> None:
    assert "q7Zk81LmPx" not in NOTHING_KNOWN.text("before " + form.format("q7Zk81LmPx") + " after")


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "xoxb-1234567890-abcdefghij",
        "sk_live_0123456789abcdef",
        "sb_secret_0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_a_token_of_a_known_make_is_blotted_out_wherever_it_stands(token: str) -> None:
    assert NOTHING_KNOWN.text(f"used {token}, then left") == "used ***, then left"


@pytest.mark.parametrize(
    "text",
    [
        "Usando Orchestrator V2 execution=0db4cdc10856420db07ddfcaa0917d01 workflow=default/hello reason=Explicit",
        '{"event": "execution failed", "node": "charge", "error": "HTTP 503", "timestamp": "2026-11-23T08:35:36Z"}',
        "spec.nodes[1].with.x: ${nodes.a.output.x / 0} failed: divide by zero",
        "GET http://metrics.example:9090/api/v1/query?query=up: 503",
        "the flag's keys in secret shop/orchestrator-flags were removed",
        "12 tokens left, fence 7, sha256 9f974dc436cc75",
    ],
)
def test_what_is_no_secret_stays_as_it_was(text: str) -> None:
    assert NOTHING_KNOWN.text(text) == text


@pytest.mark.timeout(60)  # not how long it takes, but that it ends: a careless pattern would need hours
@pytest.mark.parametrize(
    "piece", ["token", "a-", "eyJ", "x://", '"', "bearer ", "token=", "-----BEGIN PRIVATE KEY-----"]
)
def test_a_hostile_line_is_searched_to_its_end(piece: str) -> None:
    assert NOTHING_KNOWN.text(piece * (100_000 // len(piece)) + " the end")


def test_secrets_are_known_from_variables_urls_and_mounted_files(tmp_path: Path) -> None:
    (tmp_path / "shop" / "api").mkdir(parents=True)
    (tmp_path / "shop" / "api" / "token").write_text("mounted-value\n")
    (tmp_path / "shop" / "api" / "hosts").write_text("shop.example\n")
    (tmp_path / "tokens").write_text("first-value\nsecond-value\n")
    environment = {
        "STRIPE_SECRET": "variable-value",
        "CACHE": "redis://u:url%2Fvalue@h",
        "ORCHESTRATOR_SECRETS": str(tmp_path),
        "ORCHESTRATOR_FLAG_SECRET": "orchestrator-flags",
        "TOKEN": "short",
        "DOOR_TOKENS": str(tmp_path / "tokens"),
        "KEYRING": str(tmp_path / "shop"),
        "LONG_KEY": "k" * 5000,
        "HOME": "home-of-ada",
    }
    masks = known_secrets(environment, ["ORCHESTRATOR_FLAG_SECRET"], "postgresql://u:option-value@h/d")
    for secret in (
        "variable-value",
        "url%2Fvalue",
        "url/value",
        "mounted-value",
        "option-value",
        "second-value",
        "k" * 5000,
    ):
        assert masks.text(f"a {secret} b") == "a *** b", secret
    for harmless in ("orchestrator-flags", "shop.example", "short", "home-of-ada", str(tmp_path / "shop")):
        assert masks.text(harmless) == harmless
