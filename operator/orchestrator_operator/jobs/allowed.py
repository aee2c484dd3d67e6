"""What the administrator lets containers be and get. Pure; a refusal names the setting that would allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import StepError
from orchestrator_operator.jobs.settings import variable

if TYPE_CHECKING:
    from orchestrator.nodes.container_with import ContainerWith
    from orchestrator_operator.jobs.settings import JobSettings, Names


def check_allowed(spec: ContainerWith, namespace: str, settings: JobSettings) -> None:
    """Raise StepError `ContainerRefused`, which no retry would mend, for what the settings do not allow."""
    if settings.images and not any(image_fits(spec.image, entry) for entry in settings.images):
        raise _refused("image", f"the image {spec.image!r}", "images")
    for name in sorted(spec.secrets):
        if not _listed(f"{namespace}/{name}", settings.secrets):
            raise _refused("env and with.volumes", f"the Secret {namespace}/{name}", "secrets")
    for claim in sorted(spec.claims):
        if not _listed(f"{namespace}/{claim}", settings.claims):
            raise _refused("volumes", f"the claim {namespace}/{claim}", "claims")
    account = spec.service_account
    if account is not None and not _listed(f"{namespace}/{account}", settings.accounts):
        raise _refused("serviceAccount", f"the service account {namespace}/{account}", "accounts")


def image_fits(image: str, entry: str) -> bool:
    """Whether an image's name begins with an entry, and the entry ends where a part of the name does."""
    if not image.startswith(entry):
        return False
    rest = image[len(entry) :]
    if not rest or entry.endswith("/") or rest[0] in "/@":
        return True
    return rest[0] == ":" and "/" not in rest  # a tag; with a slash behind it, it is the port of another registry


def _listed(name: str, entries: Names) -> bool:
    return any(name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in entries)


def _refused(field: str, what: str, setting: str) -> StepError:
    message = f"with.{field}: {what} is not allowed here; {variable(setting)} of the workers lists what is"
    return StepError("ContainerRefused", message, retryable=False)
