from __future__ import annotations

import functools
import hashlib
import http.server
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local import download
from orchestrator_operator.local.catalogue import Release
from orchestrator_operator.local.errors import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"\x7fELF a binary" * 1000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL where a real web server serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(release: Release, tmp_path: Path) -> Path:
    target = tmp_path / "target"
    download.fetch(release, target, tmp_path / "scratch", lambda _: None)
    return target


def publish(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_a_file_with_the_published_checksum_is_kept_and_executable(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = site
    (folder / "thing.sha256").write_text(publish(folder, "thing", CONTENT))
    target = fetch(Release(f"{url}/thing", f"{url}/thing.sha256"), tmp_path)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o111


def test_a_file_with_another_checksum_is_refused_and_nothing_of_it_stays(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = site
    (folder / "thing.sha256").write_text(publish(folder, "thing", CONTENT))
    (folder / "thing").write_bytes(CONTENT + b"!")
    with pytest.raises(ToolUnavailable, match="refused"):
        fetch(Release(f"{url}/thing", f"{url}/thing.sha256"), tmp_path)
    assert not (tmp_path / "target").exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_the_binary_is_taken_out_of_an_archive_that_is_downloaded_once(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = site
    (tmp_path / "binary").write_bytes(CONTENT)
    with tarfile.open(folder / "all.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "binary", "all-1.0/thing")
    checksum = hashlib.sha256((folder / "all.tar.gz").read_bytes()).hexdigest()
    (folder / "sums").write_text(f"{'0' * 64}  other.tar.gz\n{checksum} *all.tar.gz\n")
    release = Release(f"{url}/all.tar.gz", f"{url}/sums", "all-1.0/thing")
    assert fetch(release, tmp_path).read_bytes() == CONTENT
    (folder / "all.tar.gz").unlink()
    assert fetch(release, tmp_path).read_bytes() == CONTENT


def test_an_archive_without_the_binary_is_refused(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = site
    with tarfile.open(folder / "all.tar.gz", "w:gz"):
        pass
    (folder / "sums").write_text(hashlib.sha256((folder / "all.tar.gz").read_bytes()).hexdigest())
    with pytest.raises(ToolUnavailable, match=r"does not hold all-1\.0/thing"):
        fetch(Release(f"{url}/all.tar.gz", f"{url}/sums", "all-1.0/thing"), tmp_path)


def test_a_release_that_is_not_there_says_so(site: tuple[Path, str], tmp_path: Path) -> None:
    _, url = site
    with pytest.raises(ToolUnavailable, match="404"):
        fetch(Release(f"{url}/thing", f"{url}/thing.sha256"), tmp_path)


def test_a_checksum_of_another_file_does_not_count() -> None:
    with pytest.raises(ToolUnavailable, match=r"no SHA-256 of b\.tar\.gz"):
        download.published_checksum(f"{'a' * 64}  a.tar.gz\n", "b.tar.gz")


def test_a_closed_port_is_not_reachable() -> None:
    with pytest.raises(ToolUnavailable, match="cannot be reached"):
        download.require_reachable(Release("http://127.0.0.1:1/thing", ""))
