from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.masks import MASK, SHORTEST, Masks

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "canary/\"6\\é+=&<%$'\n€"


def masks_of(*values: str) -> Masks:
    masks = Masks()
    for value in values:
        masks.add(value)
    return masks


ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON within JSON": lambda value: json.dumps(json.dumps(value)),
    "JSON with escaped slashes": lambda value: json.dumps(value).replace("/", "\\/"),
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "repr within JSON": lambda value: json.dumps(repr(value)),
    "a URL's path": quote,
    "a URL's path, all of it": lambda value: quote(value, safe=""),
    "a form": quote_plus,
    "a URL within a URL": lambda value: quote(quote(value)),
    "a URL in lower case": lambda value: quote(value).replace("%C3%A9", "%c3%a9").replace("%5C", "%5c"),
    "HTML": html.escape,
    "HTML within HTML": lambda value: html.escape(html.escape(value)),
    "HTML in ASCII": lambda value: html.escape(value).encode("ascii", "xmlcharrefreplace").decode(),
    "taken for Latin-1": lambda value: value.encode().decode("latin-1"),
    "Base64": lambda value: base64.b64encode(value.encode()).decode(),
    "Base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "Base64 in a URL": lambda value: quote(base64.b64encode(value.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
def test_a_secret_is_found_in_each_form_that_it_is_echoed_in(echo: Callable[[str], str]) -> None:
    masked = masks_of(VALUE).text(f"before {echo(VALUE)} after")
    assert MASK in masked
    assert "canary" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@given(value=st.text(st.characters(codec="utf-8"), min_size=SHORTEST, max_size=40), echo=st.sampled_from([*ECHOES]))
def test_any_secret_is_found_in_any_form(value: str, echo: str) -> None:
    said = ECHOES[echo](value)
    assert MASK in masks_of(value).text(said)
    assert said not in masks_of(value).text(f"({said})")


@given(before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_secret_is_found_wherever_it_stands_in_base64(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + VALUE.encode() + after).decode()
    masked = masks_of(VALUE).text(encoded)
    assert MASK in masked
    kept = masked.replace(MASK, "")
    assert len(kept) <= len(base64.b64encode(before + after)) + 8  # its neighbours, and a character that they share


def test_of_secrets_that_overlap_nothing_is_left() -> None:
    assert masks_of("abcdefgh", "efghijkl").text("-abcdefghijkl-") == f"-{MASK}-"


def test_a_secret_that_overlaps_itself_leaves_nothing() -> None:
    assert masks_of("abcabcabc").text("-abcabcabcabc-") == f"-{MASK}-"


def test_the_lines_of_a_private_key_are_found_one_by_one() -> None:
    masks = masks_of("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nshort\n-----END PRIVATE KEY-----")
    assert masks.text("line 2 is MIGHAgEAMBMGByqGSM49") == f"line 2 is {MASK}"
    assert masks.text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_rotated_secret_stays_masked() -> None:
    assert masks_of("old-canary", "new-canary").text("old-canary new-canary") == f"{MASK} {MASK}"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"a": ["x canary-1 y"]}, {"a": [f"x {MASK} y"]}),
        ({"canary-1": 1}, {MASK: 1}),
        (["canary-1", 5, None, True, 1.5], [MASK, 5, None, True, 1.5]),
        ({"n": 1234567890}, {"n": MASK}),
        ({"n": -1234567890.5}, {"n": MASK}),
        ({"n": 123456}, {"n": 123456}),
    ],
)
def test_a_json_value_is_masked_in_texts_keys_and_numbers(value: Any, masked: Any) -> None:
    assert masks_of("canary-1", "1234567890").json(value) == masked


def test_a_value_without_secrets_is_not_copied() -> None:
    value = {"a": [1, "b"]}
    assert masks_of("canary-1").json(value) is value
    assert Masks().json(value) is value


def test_an_object_in_a_log_is_masked_in_its_repr() -> None:
    class Loose:
        def __repr__(self) -> str:
            return "<Loose canary-1>"

    assert masks_of("canary-1").anything({"a": Loose()}) == {"a": f"<Loose {MASK}>"}


@pytest.mark.parametrize("filling", ["\\", '"', "%", "&", "%25", "&amp;", "\\u0022", "\\\\x22"])
def test_a_hostile_text_does_not_hold_the_search(filling: str) -> None:
    masks = masks_of('ab"""\\\\\\""\\\\x%%%&&&cd', "\\" * 9 + "x" + '"' * 6)
    assert "x ab" in masks.text("x ab" + filling * (1 << 17))
