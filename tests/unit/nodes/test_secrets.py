from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import InvalidInput, StepError
from orchestrator.masks import MASK, Masks
from orchestrator.secrets import LARGEST, Secret, SecretFolder, Secrets
from tests.support.services import keep_secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def secrets(tmp_path: Path, masks: Masks) -> Secrets:
    return Secrets(SecretFolder(tmp_path), masks)


def refused(secrets: Secrets, name: str = "api", key: str = "token", namespace: str = "default") -> StepError:
    with pytest.raises(StepError) as caught:
        secrets.read(namespace, name, key)
    return caught.value


class Mount:
    """A Secret as the kubelet mounts it: keys are links into `..data`, which is a link to one version."""

    def __init__(self, folder: Path, namespace: str = "default", name: str = "api") -> None:
        self.home = folder / namespace / name
        self.home.mkdir(parents=True)
        self._versions = 0

    def write(self, **keys: str) -> None:
        self._versions += 1
        version = self.home / f"..version_{self._versions}"
        version.mkdir()
        for key, value in keys.items():
            (version / key).write_text(value, encoding="utf-8")
            if not (self.home / key).is_symlink():
                (self.home / key).symlink_to(f"..data/{key}")
        old = (self.home / "..data").resolve() if (self.home / "..data").exists() else None
        (self.home / "..data_tmp").symlink_to(version.name)
        (self.home / "..data_tmp").rename(self.home / "..data")
        if old is not None:
            for path in old.iterdir():
                path.unlink()
            old.rmdir()


def test_a_key_is_read_from_a_plain_folder(tmp_path: Path, secrets: Secrets) -> None:
    keep_secret(tmp_path, "api", hosts="a.example, b.example:8443\n*.c.example\n", token="canary-1")
    assert secrets.read("default", "api", "token") == Secret("canary-1", ("a.example", "b.example:8443", "*.c.example"))


def test_a_key_is_read_as_kubernetes_mounts_it(tmp_path: Path, secrets: Secrets) -> None:
    Mount(tmp_path).write(token="canary-1", hosts="a.example")
    assert secrets.read("default", "api", "token") == Secret("canary-1", ("a.example",))


def test_a_rotation_is_seen_at_once(tmp_path: Path, secrets: Secrets) -> None:
    mount = Mount(tmp_path)
    mount.write(token="canary-1")
    assert secrets.value("default", "api", "token") == "canary-1"
    mount.write(token="canary-2")
    assert secrets.value("default", "api", "token") == "canary-2"


def test_a_value_and_its_hosts_are_of_one_version(tmp_path: Path, secrets: Secrets) -> None:
    mount, over = Mount(tmp_path), threading.Event()
    mount.write(token="canary-a", hosts="a")

    def rotate() -> None:
        while not over.is_set():
            mount.write(token="canary-b", hosts="b")
            mount.write(token="canary-a", hosts="a")

    rotating = threading.Thread(target=rotate)
    rotating.start()
    seen: set[Secret] = set()
    try:
        for _ in range(500):
            try:
                seen.add(secrets.read("default", "api", "token"))
            except StepError as error:  # replaced each time that it was looked at
                assert error.retryable, error  # noqa: PT017 - what is allowed to happen, not what must
    finally:
        over.set()
        rotating.join()
    assert seen == {Secret("canary-a", ("a",)), Secret("canary-b", ("b",))}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_the_line_breaks_at_the_end_do_not_count(tmp_path: Path, secrets: Secrets, ending: str) -> None:
    keep_secret(tmp_path, "api", token=f" canary-1{ending}")
    assert secrets.value("default", "api", "token") == " canary-1"


def test_a_secret_that_is_not_there_may_come_later(tmp_path: Path, secrets: Secrets) -> None:
    error = refused(secrets)
    assert (error.kind, error.retryable) == ("SecretMissing", True)
    assert "mount it as default/api/token in the folder of ORCHESTRATOR_SECRETS" in error.message
    keep_secret(tmp_path, "api", token="canary-1")
    assert secrets.value("default", "api", "token") == "canary-1"


def test_another_namespaces_secret_is_not_there(tmp_path: Path, secrets: Secrets) -> None:
    keep_secret(tmp_path, "api", namespace="other", token="canary-1")
    assert refused(secrets).kind == "SecretMissing"


@pytest.mark.parametrize(
    ("namespace", "name", "key"),
    [
        ("..", "api", "token"),
        ("", "api", "token"),
        ("a.b", "api", "token"),
        ("default", "../other", "token"),
        ("default", "a..b", "token"),
        ("default", "API", "token"),
        ("default", "", "token"),
        ("default", "api\n", "token"),
        ("default", "a" * 254, "token"),
        ("default", "api", ".."),
        ("default", "api", "."),
        ("default", "api", "..data"),
        ("default", "api", "a/b"),
        ("default", "api", "${input.key}"),
        ("default", "api", "hosts"),
    ],
)
def test_a_name_that_kubernetes_would_not_take_is_refused(
    tmp_path: Path, secrets: Secrets, namespace: str, name: str, key: str
) -> None:
    keep_secret(tmp_path, "api", hosts="canary.example", token="canary-1")
    error = refused(secrets, name, key, namespace)
    assert (error.kind, error.retryable) == ("SecretUnusable", False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x" * (LARGEST + 1), "has more than"),
        (b"\xff" * 9, "is no UTF-8 text"),
        (b"canary\x001", "contains a NUL"),
        (b"1234567\n", "has fewer than 8 characters"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(tmp_path: Path, secrets: Secrets, content: bytes, words: str) -> None:
    keep_secret(tmp_path, "api")
    (tmp_path / "default/api/token").write_bytes(content)
    error = refused(secrets)
    assert (error.kind, error.retryable) == ("SecretUnusable", False)
    assert words in error.message


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path: Path, secrets: Secrets, make: object) -> None:
    keep_secret(tmp_path, "api")
    make(tmp_path / "default/api/token")  # type: ignore[operator]  # either takes a path
    assert "is no file" in refused(secrets).message


def test_a_file_that_may_not_be_read_may_be_mended(tmp_path: Path, secrets: Secrets) -> None:
    keep_secret(tmp_path, "api")
    (tmp_path / "default/api/token").symlink_to("token")  # a link to itself: permissions do not stop root
    error = refused(secrets)
    assert (error.kind, error.retryable) == ("SecretMissing", True)
    assert "cannot be read" in error.message


def test_without_a_folder_the_setting_is_named(masks: Masks) -> None:
    error = refused(Secrets(None, masks))
    assert (error.kind, error.retryable) == ("SecretsOff", False)
    assert "set ORCHESTRATOR_SECRETS" in error.message


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^ORCHESTRATOR_SECRETS: .* is no folder$"):
        SecretFolder(tmp_path / "nowhere")


def test_a_value_that_was_read_is_masked(tmp_path: Path, secrets: Secrets, masks: Masks) -> None:
    keep_secret(tmp_path, "api", token="canary-1")
    secrets.read("default", "api", "token")
    assert masks.text("canary-1") == MASK


def test_a_secret_does_not_show_its_value() -> None:
    assert "canary" not in repr(Secret("canary-1", ("a.example",)))


@pytest.mark.parametrize(
    ("listed", "refused_"), [("", False), ("shop, default", False), ("shop", True), ("defaul", True)]
)
def test_a_namespace_that_is_not_listed_gets_none(tmp_path: Path, masks: Masks, listed: str, *, refused_: bool) -> None:
    keep_secret(tmp_path, "api", token="canary-1")
    secrets = Secrets(SecretFolder(tmp_path, listed), masks)
    if not refused_:
        assert secrets.value("default", "api", "token") == "canary-1"
        return
    error = refused(secrets)
    assert (error.kind, error.retryable) == ("SecretRefused", False)
    assert f"ORCHESTRATOR_SECRET_NAMESPACES of this worker lists {listed}" in error.message
    assert masks.text("canary-1") == "canary-1"  # it was never read


def test_a_secret_that_is_not_there_is_no_news_for_a_namespace_that_is_not_listed(tmp_path: Path, masks: Masks) -> None:
    keep_secret(tmp_path, "api", token="canary-1")
    secrets = Secrets(SecretFolder(tmp_path, "shop"), masks)
    assert refused(secrets, "other").kind == refused(secrets).kind


@pytest.mark.parametrize("listed", ["Shop", "a/b", "..", "shop,*", ",", " , "])
def test_a_list_with_what_is_no_namespace_is_refused_by_the_settings_name(tmp_path: Path, listed: str) -> None:
    with pytest.raises(InvalidInput, match="ORCHESTRATOR_SECRET_NAMESPACES"):
        SecretFolder(tmp_path, listed)
