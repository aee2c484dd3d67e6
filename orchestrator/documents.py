"""Reads a resource from a file or a text, YAML or JSON, as `kubectl apply` would; a Workflow unless told otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.jsonvalues import child

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION, KIND = "orchestrator.dev/v1alpha1", "Workflow"
_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")  # RFC 1123, as Kubernetes has it
_MAX_BYTES = 8 << 20
_MAX_VALUES = 1_000_000  # after aliases are followed: a few lines of them could stand for billions


class Document(NamedTuple):
    """A resource as it was written: nothing of its spec is checked yet."""

    namespace: str
    name: str
    spec: Mapping[str, Any]


def read_document(source: Path | str, *, kind: str = KIND) -> Document:
    """The resource in a file (a Path, or a text that names one) or in a text; raises InvalidWorkflow.

    Text with a line break or a `{` is a document, any other text is a path.
    """
    if isinstance(source, str) and ("\n" in source or "{" in source):
        return _resource(_load(source, "document"), "document", kind)
    path = Path(source)
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        raise InvalidWorkflow([Problem(str(path), f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise InvalidWorkflow([Problem(str(path), f"is not UTF-8 text: {error.reason}")]) from error
    return _resource(_load(text, str(path)), str(path), kind)


class _Loader(yaml.SafeLoader):
    """YAML as the API server's clients read it: no dates, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key_node.tag != "tag:yaml.org,2002:merge":
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


# A date would become a Python object; it is text in JSON, and `until: 2031-05-01T08:00:00Z` means the text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load(text: str, source: str) -> Any:
    if len(text) > _MAX_BYTES:
        raise InvalidWorkflow([Problem(source, f"is larger than {_MAX_BYTES} characters")])
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise InvalidWorkflow([Problem(place, f"is not YAML: {error.problem or error.context}")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidWorkflow([Problem(source, f"is not YAML: {error}")]) from error
    if len(documents) != 1:
        raise InvalidWorkflow([Problem(source, f"holds {len(documents)} documents; one is expected")])
    if not _small(documents[0]):
        raise InvalidWorkflow([Problem(source, f"holds more than {_MAX_VALUES} values once its aliases are followed")])
    return documents[0]


def _small(document: Any) -> bool:
    pending, seen = [document], 0
    while pending:
        value = pending.pop()
        seen += 1
        if seen > _MAX_VALUES:
            return False
        if isinstance(value, dict | list):
            pending.extend(value.values() if isinstance(value, dict) else value)
    return True


def _resource(document: Any, source: str, kind: str) -> Document:
    if not isinstance(document, dict):
        raise InvalidWorkflow([Problem(source, "is no resource; it needs apiVersion, kind, metadata and spec")])
    problems: list[Problem] = []
    for key, expected in (("apiVersion", API_VERSION), ("kind", kind)):
        if document.get(key) != expected:
            problems.append(Problem(key, f"must be {expected}, not {document.get(key)!r}"))
    problems.extend(Problem(str(key), "is no field of a resource") for key in document if key not in _FIELDS)
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        problems.append(Problem("metadata", "is required: a map with at least a name"))
        metadata = {}
    name, namespace = metadata.get("name"), metadata.get("namespace", "default")
    for key, value in (("name", name), ("namespace", namespace)):
        if metadata and not (isinstance(value, str) and _NAME.match(value)):
            message = f"{value!r} is no name: lower-case letters, digits, '-' and '.'" if value else "is required"
            problems.append(Problem(child("metadata", key), message))
    spec = document.get("spec")
    if not isinstance(spec, dict):
        problems.append(Problem("spec", "is required: a map with the nodes" if kind == KIND else "is required: a map"))
    if problems:
        raise InvalidWorkflow(problems)
    return Document(str(namespace), str(name), dict(spec or {}))
