"""The product's image, from the checkout: on Python's official one, or on Debian's where that cannot be pulled."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.kind import archive
from orchestrator_operator.kind.daemon import pullable
from orchestrator_operator.kind.places import fingerprint
from orchestrator_operator.kind.rootfs import PYTHON, SUITE, RootFilesystems
from orchestrator_operator.local import LocalError
from orchestrator_operator.local.locking import locked

if TYPE_CHECKING:
    from orchestrator_operator.kind.places import Places
    from orchestrator_operator.kind.steps import Steps

NAME = "localhost/orchestrator"

_CONTEXT = ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "Dockerfile", ".dockerignore")
_FOLDERS = ("orchestrator", "operator", "deploy/local/go", "deploy/image/authorities")
# What the machine needs to reach PyPI, the build needs too.
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
_PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class ProductImage:
    """Builds it with the Docker that `steps` reaches. Its tag changes with every file that is in it."""

    places: Places
    steps: Steps

    def get(self) -> str:
        """The image's name, once Docker has it."""
        with locked(self.places.root / "image.lock", timeout=_PATIENCE):
            base = "" if pullable() else self._base()
            name = f"{NAME}:{fingerprint(self.places.project, self._files(), base)}"
            if not self._has(name):
                self._build(name, base)
            return name

    def build_on(self, base: str, dockerfile: Path, name: str) -> None:
        """An image on top of ours, as a team makes one with its own functions."""
        command = ["docker", "build", "--build-arg", f"BASE={base}", "--tag", name, dockerfile.parent]
        self.steps.run(f"building {name}", command)

    def _files(self) -> list[Path]:
        project = self.places.project
        found = [project / name for name in _CONTEXT]
        for folder in _FOLDERS:
            found += [
                path for path in (project / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
            ]
        return found

    def _build(self, image: str, base: str) -> None:
        context = self.places.root / "context"
        shutil.rmtree(context, ignore_errors=True)
        for path in self._files():
            target = context / path.relative_to(self.places.project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        trusted = os.environ.get("SSL_CERT_FILE")
        if trusted and Path(trusted).is_file():
            shutil.copyfile(trusted, context / "deploy/image/authorities/machine.crt")
        arguments = [
            f"{variable}={os.environ[variable]}" for variable in (*_NETWORK, *_INDEX) if variable in os.environ
        ]
        arguments += [f"BASE={base}"] if base else []
        command = ["docker", "build", "--network", "host", "--tag", image]
        command += [word for argument in arguments for word in ("--build-arg", argument)]
        self.steps.run(f"building the image {image}", [*command, context], expected=timedelta(minutes=2))
        shutil.rmtree(context)

    def _base(self) -> str:
        """Debian's Python, by debootstrap."""
        name = f"localhost/orchestrator-python:{SUITE}-{fingerprint(self.places.project, (), SUITE, *PYTHON)}"
        if self._has(name):
            return name
        if os.geteuid() != 0:
            raise LocalError(
                "no registry is reachable, so the image's base has to be made, which needs root (debootstrap): "
                "run this as root"
            )
        root = RootFilesystems(self.places, self.steps).bootstrap("python", PYTHON, timedelta(minutes=1))
        self.steps.run(
            "making the base image of Debian's Python",
            ["docker", "import", "--change", 'CMD ["python3"]', "-", name],
            feed=archive.of_folder(root),
        )
        shutil.rmtree(root)
        return name

    def _has(self, name: str) -> bool:
        return self.steps.try_(["docker", "image", "inspect", name]).returncode == 0
