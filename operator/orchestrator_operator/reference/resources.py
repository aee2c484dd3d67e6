"""The three custom resources: every field of spec and status, columns, rules, and an example that the API accepts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.reference.defaults import Defaults
from orchestrator_operator.reference.markdown import block, code, page, table
from orchestrator_operator.specs import GROUP, VERSION
from orchestrator_operator.specs.crds import DEFINITIONS, crd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator_operator.specs.crds import Definition

_ROOT: Final = Path(__file__).parents[3]
_WORKFLOW: Final = _ROOT / "deploy" / "samples" / "order-fulfilment.yaml"
_ROLLOUT: Final = re.compile(r"^```yaml\n([^`]*^kind: EngineRollout$[^`]*)^```$", re.MULTILINE)  # in the README
_EXECUTION: Final = """\
apiVersion: orchestrator.dev/v1alpha1
kind: Execution
metadata:
  name: order-4711
spec:
  workflow: order-fulfilment
  input:
    shop: http://shop.example
    orderId: "4711"
    customer: ada
    amount: 12.5
    items: [{sku: tea, quantity: 2}]
  idempotencyKey: order-4711
  ttlSecondsAfterFinished: 604800
"""
_INTRODUCTION: Final = f"""\
Group `{GROUP}`, version `{VERSION}`, namespaced; `kubectl get orchestrator` lists all three kinds. Other
products have `workflows` and `rollouts`, too: the short names tell them apart. The API server checks shapes; what needs
a sentence (a bad duration, a cycle, an expression) the operator answers as a condition that names the field."""
_FREE: Final = "x-kubernetes-preserve-unknown-fields"
_LIMITS: Final = {
    "enum": "one of {}",
    "pattern": "like {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} characters at least",
    "maxLength": "{} characters at most",
    "maxItems": "{} at most",
}


def render() -> str:
    """The page."""
    return page("Custom resources", _INTRODUCTION, *(part for one in DEFINITIONS for part in _parts(one)))


def example(kind: str) -> str:
    """A resource of a kind, as YAML: the demo's workflow, an order of it, and the rollout that the README shows."""
    match kind:
        case "Workflow":
            return _WORKFLOW.read_text(encoding="utf-8")
        case "EngineRollout":
            (shown,) = _ROLLOUT.findall((_ROOT / "README.md").read_text(encoding="utf-8"))
            return str(shown)
        case _:
            return _EXECUTION


def _parts(definition: Definition) -> Iterator[str]:
    document = crd(definition)
    version = document["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    defaults = Defaults(definition.spec.model_json_schema(by_alias=True))
    yield f"## {definition.resource.kind}"
    yield f"{definition.description} Short name `{definition.resource.short}`."
    yield from (f"Rule: {rule['message']}." for rule in definition.rules)
    yield "### Spec"
    yield _table(schema["spec"], "spec", defaults)
    yield "### Status"
    yield _table(schema["status"], "status", None)
    yield "### Columns"
    columns = version["additionalPrinterColumns"]
    yield table(("column", "shows"), ((one["name"], code(one["jsonPath"])) for one in columns))
    yield "### Example"
    yield block("yaml", example(definition.resource.kind))


def _table(schema: Mapping[str, Any], path: str, defaults: Defaults | None) -> str:
    if defaults is None:
        rows = ((code(place), _type(member), _said(member)) for place, member, _ in _members(schema, path))
        return table(("field", "type", "meaning"), rows)
    return table(
        ("field", "type", "default", "meaning"),
        (
            (
                code(place),
                _type(member),
                "required" if required else code(defaults.at(place)),
                _said(member, defaults.words(place)),
            )
            for place, member, required in _members(schema, path)
        ),
    )


def _members(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every field below a schema with its path (`spec.nodes[].id`) and whether it must be there."""
    for name, member in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield place, member, name in schema.get("required", ())
        yield from _members(_inner(member), place + _suffix(member))


def _inner(member: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a list or a map holds; the object itself otherwise."""
    inner = member.get("items") or member.get("additionalProperties")
    return inner if isinstance(inner, dict) else member


def _suffix(member: Mapping[str, Any]) -> str:
    return "[]" if "items" in member else ".*" if isinstance(member.get("additionalProperties"), dict) else ""


def _type(member: Mapping[str, Any]) -> str:
    if member.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(member.get("type", "any"))
    if kind == "array":
        return f"list of {_type(member['items'])}"
    if isinstance(member.get("additionalProperties"), dict):
        return f"map of {_type(member['additionalProperties'])}"
    if member.get(_FREE) and kind == "object":
        return "object, any fields"
    return f"{kind} ({member['format']})" if "format" in member else kind


def _said(member: Mapping[str, Any], words: Sequence[str] = ()) -> str:
    """What it means, and what the API server, or else the operator, allows; a sentence may name the words itself."""
    said = str(member.get("description", ""))
    known = {"enum": list(words)} if any(word not in said for word in words) else {}
    allowed = {**known, **{key: value for key, value in member.items() if key != "enum"}}
    limits = [
        sentence.format(", ".join(map(code, value)) if isinstance(value, list) else code(str(value)))
        for key, sentence in _LIMITS.items()
        if (value := allowed.get(key)) is not None
    ]
    return f"{said} ({'; '.join(limits)})" if limits else said
