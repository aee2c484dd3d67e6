"""What leaves in a support bundle: known secrets never, what looks like one neither, the rest as it was."""

from __future__ import annotations

import json
import shlex
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
    "Authorization: Token {}",
    "authorization: ApiKey {}, and more",
    "Proxy-Authorization=Negotiate {}",
    "['Authorization', 'Token {}']",
    'Authorization: Digest username="ada", realm="r", response="{}"',
    "Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={}",
    "used ApiKey {}",
    "postgresql://ada:half/{}@db:5432/shop",
    "postgresql://ada:half@{}@db:5432/shop",
    "mongodb+srv://ada:12/{}@db/shop",
    "amqp://ada:it's{}@mq",
    "https://ada:half/{}@shop.example:8443/a",
    "worker --password {} --verbose",
    "worker --token={}",
    "worker -password '{} and more'",
    '["worker", "--api-key", "{}"]',
    '["worker","--api-key","{}"]',
    "['worker', '--client-secret', '{}']",
    "curl -u ada:{} https://shop.example",
    "curl --user=ada:{} https://shop.example",
    "Cookie: theme=dark; sid={}",
    'Cookie: theme="dark"; sid={}; lang=pt',
    '{{"cookie": "theme=dark; sid={}"}}',
    "Set-Cookie: theme=dark; sid={}; HttpOnly",
    '{{"password": "half\\"{}"}}',
    '{{"password": "half\\\\", "secret": "{}"}}',
    "{{'password': 'it\\'s {}'}}",
    '"password": "never closed {}',
    '{{"auths": {{"r": {{"auth": "{}"}}}}}}',
    "ALTER ROLE ada PASSWORD '{}'",
    "CREATE USER ada IDENTIFIED BY 'it''s {}'",
    "host=db user=ada pass={}",
    "AccountName=a;AccountKey={};EndpointSuffix=b",
    "GET /a?X-Amz-Signature={}",
    "https://discord.com/api/webhooks/1/{}",
    "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}",
]


@pytest.mark.parametrize("form", SECRETS)
def test_what_looks_like_a_secret_is_blotted_out(form: str) -> None:
    assert "q7Zk81LmPx" not in NOTHING_KNOWN.text("before " + form.format("q7Zk81LmPx") + " after")


#: Pieces of a secret that holds anything else, too; each of them is looked for.
pieces = st.tuples(*[st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)] * 3).map(
    lambda found: "{}q7Zk81{}LmPx42{}".format(*found)
)


def told(text: str) -> list[str]:
    scrubbed = NOTHING_KNOWN.text(text)
    return [piece for piece in ("q7Zk81", "LmPx42") if piece in scrubbed]


@given(secret=pieces, deep=st.integers(0, 2), name=st.sampled_from(["password", "Authorization", "cookie", "apiKey"]))
def test_no_piece_of_a_value_in_json_is_left_however_it_is_escaped(secret: str, deep: int, name: str) -> None:
    text = json.dumps({"before": 1, name: secret, "after": "kept"})
    for _ in range(deep):
        text = json.dumps({"said": text})
    assert told(text) == []


@given(secret=pieces.filter(lambda text: " " not in text and '"' not in text))
@pytest.mark.parametrize("scheme", ["postgresql", "redis", "amqps", "mongodb+srv"])
def test_no_piece_of_a_password_in_a_url_is_left(scheme: str, secret: str) -> None:
    assert told(f"no answer of {scheme}://ada:{secret}@db.example:5432/shop at all") == []


@given(secret=pieces.filter(lambda text: not text.startswith("--")))  # that would be the next option
def test_no_piece_of_a_word_behind_a_flag_is_left(secret: str) -> None:
    assert told(f"$ worker --password {shlex.quote(secret)} --verbose") == []


@given(secret=pieces)
def test_no_piece_of_a_words_value_or_of_a_members_is_left_in_json(secret: str) -> None:
    value = {"argv": ["worker", "--token", secret], "headers": {"authorization": secret, "X-Api-Key": secret}}
    scrubbed = NOTHING_KNOWN.json(value)
    assert [piece for piece in ("q7Zk81", "LmPx42") if piece in scrubbed] == []
    assert json.loads(scrubbed) == {
        "argv": ["worker", "--token", "***"],
        "headers": {"authorization": "***", "X-Api-Key": "***"},
    }


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
        "the port of https://shop.example:8443/orders?for=ada@shop.example is no password",
        "password authentication failed for user ada",
        '["orchestrator", "worker", "--until-idle"]',
        "12 tokens left, fence 7, sha256 9f974dc436cc75",
    ],
)
def test_what_is_no_secret_stays_as_it_was(text: str) -> None:
    assert NOTHING_KNOWN.text(text) == text


@pytest.mark.timeout(60)  # not how long it takes, but that it ends: a careless pattern would need hours
@pytest.mark.parametrize(
    "piece",
    [
        *("token", "a-", "eyJ", "x://", '"', "bearer ", "token=", "-----BEGIN PRIVATE KEY-----"),
        *("--token ", "--token '", "cookie=a;", "digest a=b, ", "x://a:", 'token="\\\\', "authorization: a="),
    ],
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
