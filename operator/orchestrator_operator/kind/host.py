"""The machine's own programs: which are needed, and how they come here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.local import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator_operator.kind.steps import Steps

INSTALL = "ORCHESTRATOR_KIND_INSTALL"

DAEMON = ("docker", "dockerd", "iptables")
IMAGES = ("docker", "debootstrap")

_PACKAGES = {"docker": "docker.io", "dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}


@dataclass(frozen=True, slots=True)
class Host:
    """This machine."""

    steps: Steps

    def require(self, programs: Iterable[str]) -> None:
        """Have these programs. They are installed only where the person at the keyboard, or CI, has said so."""
        lacking = [program for program in programs if self._which(program) is None]
        if not lacking:
            return
        packages = sorted({_PACKAGES[program] for program in lacking})
        command = f"apt-get install --no-install-recommends {' '.join(packages)}"
        if not self._may_install():
            raise ToolUnavailable(
                f"{', '.join(lacking)} not found on PATH. As root: {command}\n"
                f"or let this command do that: {INSTALL}=yes (Debian and Ubuntu, as root); or start Docker"
            )
        self.steps.try_(["apt-get", "--quiet", "update"], within=600)  # what fails here shows in the next line
        self.steps.run(
            f"installing Debian's {', '.join(packages)}",
            ["env", "DEBIAN_FRONTEND=noninteractive", *command.split(), "--yes", "--quiet"],
            expected=timedelta(seconds=40),
        )

    def mirror(self) -> str:
        """The mirror that apt uses here, for a root filesystem of the same distribution; else Debian's own."""
        said = self.steps.try_(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"])
        found = (line.partition(" ") for line in said.stdout.splitlines())
        debian = [address for origin, _, address in found if origin == "Debian" and "security" not in address]
        return debian[0] if debian else "http://deb.debian.org/debian"

    def _which(self, program: str) -> str | None:
        return shutil.which(program, path=f"{self.steps.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")

    def _may_install(self) -> bool:
        wanted = self.steps.environ.get(INSTALL, "").lower() in ("1", "yes", "true")
        return wanted and os.geteuid() == 0 and self._which("apt-get") is not None
