"""Bearer tokens: files as people and Secrets have them, rotation, and what is refused at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.door.tokens import Tokens
from orchestrator.errors import InvalidInput
from orchestrator.masks import MASKS

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (f"{name}-{'x' * 32}" for name in ("one", "two", "three"))


class Watch:
    """A stopwatch in the tester's hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_has_a_token_a_line_with_or_without_a_name(tmp_path: Path) -> None:
    tokens = Tokens(write(tmp_path / "t", f"# who may call\n\n{ONE}\nbilling {TWO}  # since May\n"))
    callers = [tokens.caller(f"Bearer {token}") for token in (ONE, TWO, THREE)]
    assert callers == ["line-3", "billing", None]


def test_a_folder_has_a_file_for_each_caller_as_a_mounted_secret(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01"  # the kubelet's: the names that are seen are links into it
    data.mkdir()
    for name, text in (("billing", f"{ONE}\n{TWO}\n"), ("shop", THREE)):
        write(data / name, text)
        (tmp_path / name).symlink_to(data / name)
    tokens = Tokens(tmp_path)
    assert [tokens.caller(f"bearer {t}") for t in (ONE, TWO, THREE)] == ["billing", "billing", "shop"]


def test_a_token_is_rotated_without_a_restart(tmp_path: Path) -> None:
    watch, path = Watch(), write(tmp_path / "t", ONE)
    tokens = Tokens(path, watch)
    assert tokens.caller(f"Bearer {ONE}")
    write(path, TWO)
    watch.now += 1
    assert [tokens.caller(f"Bearer {token}") for token in (ONE, TWO)] == [None, "line-1"]


def test_what_was_read_just_now_is_not_read_again(tmp_path: Path) -> None:
    watch, path = Watch(), write(tmp_path / "t", ONE)
    tokens = Tokens(path, watch)
    tokens.check()
    path.unlink()
    watch.now += 0.9
    assert tokens.caller(f"Bearer {ONE}")
    watch.now += 0.1
    with pytest.raises(InvalidInput, match="cannot be read"):
        tokens.caller(f"Bearer {ONE}")


@pytest.mark.parametrize("text", ["", "# nobody yet\n", "short", "billing short", f"a b {ONE}", "é" * 40])
def test_a_file_that_is_none_is_refused_and_its_content_not_shown(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "t", text)
    with pytest.raises(InvalidInput) as refused:
        Tokens(path).check()
    assert str(path) in str(refused.value)
    assert "openssl rand -hex 32" in str(refused.value)
    assert ONE not in str(refused.value)


def test_a_file_that_is_too_large_is_refused_and_not_cut_within_a_token(tmp_path: Path) -> None:
    lines = (1 << 20) // len(f"{ONE}\n")
    path = write(tmp_path / "t", f"{ONE}\n" * lines + TWO)
    with pytest.raises(InvalidInput, match="is larger than 1048576 characters") as refused:
        Tokens(path).check()
    assert str(path) in str(refused.value)


def test_every_token_is_compared_whichever_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An early end would tell how many tokens were tried."""
    tokens = Tokens(write(tmp_path / "t", f"{ONE}\n{TWO}\n{THREE}\n"))
    compared: list[int] = []
    from orchestrator.door import tokens as module

    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append(len(b)) or real(a, b))
    for given in (ONE, TWO, THREE, "", "x" * 5000):
        tokens.caller(f"Bearer {given}")
    assert compared == [32] * 15  # digests of one length, all three for each caller


def test_a_token_is_masked_from_the_moment_it_was_read(tmp_path: Path) -> None:
    token = f"never-seen-before-{'y' * 32}"
    Tokens(write(tmp_path / "t", token)).check()
    assert MASKS.text(f"echo {token}") == "echo ***"
