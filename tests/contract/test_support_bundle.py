"""A support bundle: what is in it, what is not, and that it is made whatever does not answer."""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from orchestrator_operator import settings as operator_settings
from orchestrator_operator.adapters.kubernetes import Refused
from orchestrator_operator.specs import EXECUTIONS, ROLLOUTS, WORKFLOWS
from orchestrator_operator.support import cluster_section

from orchestrator import settings as engine_settings
from orchestrator import support
from orchestrator.errors import InvalidInput
from orchestrator.model import Failure
from orchestrator.testing import FakeClock
from tests.support import monitored
from tests.support.cluster import NAMESPACE, FakeKubernetes, document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.postgres import LocalPostgres

DESCRIBED = (*engine_settings.described(), *operator_settings.described())
DAY = timedelta(days=1)


def canary(place: str) -> str:
    """A secret that stands in one place, so that a leak says where it comes from. It needs escaping everywhere."""
    return f'canary+{place}/"Zx9 &q'


class Packed:
    """A bundle, unpacked."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            texts = {member.name: file.read().decode() for member in archive if (file := archive.extractfile(member))}
        self.folders = {name.split("/", 1)[0] for name in texts}
        self.files = {name.split("/", 1)[1]: text for name, text in texts.items()}

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.files[name].splitlines()]

    def part(self, name: str) -> dict[str, str]:
        (found,) = [part for part in self.json("manifest.json")["parts"] if part["name"] == name]
        return dict(found)

    def holds(self, secret: str) -> list[str]:
        """The files in which a secret stands, in any of the forms that programs give it."""
        raw = secret.encode()
        encoded = {base64.b64encode(raw).decode()[:-4], quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
        return [name for name, text in self.files.items() if any(form in text for form in {secret, *encoded})]


async def pack(
    folder: Path,
    environment: dict[str, str],
    *more: support.Section,
    now: datetime | None = None,
    logs: Sequence[str] = (),
    with_messages: bool = False,
) -> Packed:
    """As the command does it."""
    settings = engine_settings.Settings.read(environment)
    masks = support.known_secrets(environment, [one.variable for one in DESCRIBED], settings.database)
    made = support.Bundle(support.Scrubber(masks), now or datetime.now(UTC), "1.2.3", with_messages=with_messages)
    sections = (
        support.versions_section(),
        support.settings_section(environment, DESCRIBED, (engine_settings.Settings.read, operator_settings.read)),
        support.store_section(settings, DAY),
        support.log_section(logs),
        *more,
    )
    await support.collect(made, sections, timedelta(seconds=30), lambda _: None)
    path = folder / "bundle.tar.gz"
    support.write(made, path)
    return Packed(path)


def cluster(kubernetes: FakeKubernetes) -> support.Section:
    async def connect() -> FakeKubernetes:
        return kubernetes

    return cluster_section(NAMESPACE, {"KUBECONFIG": "there"}, connect)


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes(FakeClock())


# -- what is not inside


STORED = ("payload", "failure", "routing", "idempotency")
KNOWN = ("variable", "redis", "mounted", "token-file", "libpq", "kubectl")
LOGGED = {
    "header": "Authorization: Bearer {}",
    "url": "GET https://ada:{}@shop.example/orders",
    "query": "GET https://shop.example/orders?access_token={}&page=2",
    "field": '{{"event": "login", "api_key": "{}"}}',
    "words": "connecting with password={} to the shop",
}
IN_CLUSTER = ("literal", "annotation", "other-key", "condition")


def token(place: str) -> str:
    """A secret that nobody told us of, as it stands in a line of a log."""
    return f"canary-{place}-6f1c9a"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def packs(postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Packed]:
    """A bundle of a world with a secret in every place where one may stand, for each database; packed once."""
    file = tmp_path_factory.mktemp("store") / "store.db"
    urls = {"sqlite": f"sqlite:///{file}", "postgresql": postgres.create_database()}
    return {kind: await everything(url, tmp_path_factory.mktemp("world")) for kind, url in urls.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def everywhere(request: pytest.FixtureRequest, packs: dict[str, Packed]) -> Packed:
    return packs[request.param]


async def everything(database: str, tmp_path: Path) -> Packed:
    kubernetes = FakeKubernetes(FakeClock())
    now = await monitored.fill(
        database,
        payload={"card": canary("payload")},
        failure=Failure("HttpStatus", f"503 {canary('failure')}", retryable=True, node="a"),
        routing_key=canary("routing"),
        idempotency_key=canary("idempotency"),
    )
    mounted = tmp_path / "mounted" / "shop" / "api"
    mounted.mkdir(parents=True)
    (mounted / "token").write_text(canary("mounted") + "\n")
    (tmp_path / "legacy-token").write_text(canary("token-file"))
    said = [line.format(token(place)) for place, line in LOGGED.items()]
    said += [f"a service answered: {json.dumps(canary(place))}" for place in KNOWN]
    said += ["-----BEGIN RSA PRIVATE KEY-----", token("pem"), "-----END RSA PRIVATE KEY-----", "the last line"]
    (tmp_path / "worker.log").write_text("\n".join(said))
    for resource, spec in {
        WORKFLOWS: {"nodes": [{"id": "a", "type": "transform", "with": {"key": canary("literal")}}]},
        EXECUTIONS: {"workflow": "orders", "input": {"card": canary("literal")}},
        ROLLOUTS: {},
    }.items():
        body = document(resource, "orders", spec, annotations={"vault.example/token": canary("annotation")})
        made = await kubernetes.create(resource, NAMESPACE, body)
        condition = {"type": "Valid", "status": "False", "reason": "Invalid", "message": canary("condition")}
        if resource is not ROLLOUTS:
            status = {"conditions": [condition]}
            await kubernetes.patch_status(resource, NAMESPACE, "orders", status, uid=made["metadata"]["uid"])
    kubernetes.add_secret("orchestrator-flags")
    values = {"USE_ORCHESTRATOR_V2": "true", "STRIPE": canary("other-key")}
    await kubernetes.patch_secret(NAMESPACE, "orchestrator-flags", values)
    environment = {
        "ORCHESTRATOR_DATABASE": with_password(database, canary("database")),
        "ORCHESTRATOR_SECRETS": str(tmp_path / "mounted"),
        "ORCHESTRATOR_V1": "http",
        "ORCHESTRATOR_V1_OUTCOME": "response",
        "ORCHESTRATOR_V1_URL": f"https://legacy.example/{token('v1-path')}?k={token('v1-query')}",
        "ORCHESTRATOR_PROMETHEUS": f"http://ada:{token('prometheus')}@metrics.example:9090",
        "ORCHESTRATOR_V1_TOKEN_FILE": str(tmp_path / "legacy-token"),
        "ORCHESTRATOR_UNKNOWN": token("unknown"),
        "PAYMENT_API_TOKEN": canary("variable"),
        "REDIS_URL": f"redis://:{quote(canary('redis'), safe='')}@cache:6379",
        "LIBPQ": f"host=db password='{canary('libpq')}'",
        "KUBE_CREDENTIAL": canary("kubectl"),
        "HOME_PAGE": token("foreign"),
    }
    return await pack(tmp_path, environment, cluster(kubernetes), now=now, logs=[str(tmp_path / "worker.log")])


def with_password(url: str, password: str) -> str:
    """SQLite has none."""
    return url.replace("postgres@", f"postgres:{quote(password, safe='')}@")


def test_no_secret_of_any_place_is_in_any_file(everywhere: Packed) -> None:
    canaries = [canary(place) for place in ("database", *STORED, *KNOWN, *IN_CLUSTER)]
    tokens = [token(place) for place in (*LOGGED, "pem", "unknown", "foreign", "prometheus", "v1-path", "v1-query")]
    leaks = {secret: files for secret in (*canaries, *tokens) if (files := everywhere.holds(secret))}
    assert leaks == {}
    assert not any("canary" in text for text in everywhere.files.values())


def test_every_part_of_it_was_collected(everywhere: Packed) -> None:
    parts = {part["name"]: part["state"] for part in everywhere.json("manifest.json")["parts"]}
    assert parts == dict.fromkeys(("versions", "settings", "store", "logs", "cluster"), "complete")


# -- what is inside


def test_the_rest_of_the_log_is_there(everywhere: Packed) -> None:
    lines = everywhere.files["logs/1-worker.log.log"].splitlines()
    assert lines[0] == "Authorization: Bearer ***"
    assert lines[-1] == "the last line"


def test_events_tell_what_happened_and_how_large_their_data_are(everywhere: Packed) -> None:
    history = [event for event in everywhere.lines("store/histories.jsonl") if event["execution_id"] == "bad"]
    assert [event["type"] for event in history] == [
        "ExecutionSubmitted", "ExecutionStarted", "StepFailed", "ExecutionFailed"
    ]  # fmt: skip
    failed = history[2]
    assert (failed["failure_kind"], failed["node_id"], failed["data_bytes"] > 50) == ("HttpStatus", "a", True)
    assert {event["execution_id"] for event in everywhere.lines("store/events.jsonl")} == {"ok", "bad", "slow"}


def test_executions_that_hang_or_failed_stand_there_with_their_failures_kind(everywhere: Packed) -> None:
    found = everywhere.json("store/executions.json")
    assert [row["id"] for row in found["open"]] == ["slow", "legacy"]
    assert [(row["id"], row["error_kind"]) for row in found["failed"]] == [("bad", "HttpStatus")]
    assert sum(row["executions"] for row in found["counts"]) == 4


def test_log_lines_keep_whose_they_are_and_the_kind_of_failure(everywhere: Packed) -> None:
    text = everywhere.files["store/edge_logs.txt"]
    assert "Usando Orchestrator V2 execution=slow" in text
    assert "ERROR execution bad: HttpStatus: (" in text
    (line,) = [row for row in everywhere.json("store/reports.json")["errors"] if "bad" in row["event_message"]]
    assert line["event_message"].startswith("ERROR execution bad: HttpStatus: (")


def test_the_database_says_which_schema_it_has(everywhere: Packed) -> None:
    found = everywhere.json("store/database.json")
    assert found["schema_version"] == found["this_program_knows"]
    assert [row["schema_version"] for row in found["event_schemas"]] == [1]
    assert {"workflow_events", "workflow_executions"} <= {row["name"] for row in found["tables"]}


def test_settings_are_shown_without_what_is_secret_in_them(everywhere: Packed) -> None:
    found = everywhere.json("settings.json")
    values = {one["variable"]: one["value"] for one in found["settings"]}
    assert values["ORCHESTRATOR_V1_URL"] == "https://legacy.example/…"
    assert str(values["ORCHESTRATOR_V1_TOKEN_FILE"]).endswith("/legacy-token")
    assert values["ORCHESTRATOR_LEASE"] is None
    assert found["unknown"] == ["ORCHESTRATOR_UNKNOWN"]


def test_the_flag_and_the_rollout_are_told_in_full(everywhere: Packed) -> None:
    assert everywhere.json("cluster/flag.json")["values"] == {"USE_ORCHESTRATOR_V2": "true"}
    assert everywhere.json("cluster/flag.json")["other_keys"] == 1
    (rollout,) = everywhere.json("cluster/rollouts.json")
    assert (rollout["name"], rollout["spec"]) == ("orders", {})
    assert everywhere.json("cluster/leader.json") == {"lease": f"{NAMESPACE}/orchestrator-operator", "there": False}
    assert all(one["as_this_program_has_it"] for one in everywhere.json("cluster/definitions.json"))


async def test_messages_are_added_on_request_but_for_known_secrets(database: str, tmp_path: Path) -> None:
    failure = Failure("HttpStatus", f"no such customer as {canary('variable')}", retryable=False, node="a")
    now = await monitored.fill(database, failure=failure)
    environment = {"ORCHESTRATOR_DATABASE": database, "PAYMENT_API_TOKEN": canary("variable")}
    packed = await pack(tmp_path, environment, now=now, with_messages=True)
    (failed,) = packed.json("store/executions.json")["failed"]
    assert failed["message"] == "no such customer as ***"
    assert "ERROR execution bad: HttpStatus: no such customer as ***" in packed.files["store/edge_logs.txt"]
    assert not packed.holds(canary("variable"))


# -- whatever does not answer


async def test_a_database_that_is_away_is_told_inside(tmp_path: Path, postgres: LocalPostgres) -> None:
    away = with_password(postgres.url("nowhere"), canary("database"))
    packed = await pack(tmp_path, {"ORCHESTRATOR_DATABASE": away})
    assert packed.part("store")["state"] == "incomplete"
    assert 'database "nowhere" does not exist' in packed.part("store")["reason"]
    assert packed.part("settings")["state"] == "complete"
    assert not packed.holds(canary("database"))


async def test_an_api_server_that_is_away_is_told_inside(tmp_path: Path, kubernetes: FakeKubernetes) -> None:
    kubernetes.failures.append(Refused("GET /version: 403 Forbidden: no", status=403))
    packed = await pack(tmp_path, {"ORCHESTRATOR_DATABASE": str(tmp_path / "no.db")}, cluster(kubernetes))
    assert packed.part("cluster") == {
        "name": "cluster", "state": "incomplete", "reason": "GET /version: 403 Forbidden: no"
    }  # fmt: skip
    assert "there is no database" in packed.part("store")["reason"]


async def test_what_an_account_may_not_read_leaves_the_rest_readable(
    tmp_path: Path, kubernetes: FakeKubernetes
) -> None:
    await kubernetes.create(ROLLOUTS, NAMESPACE, document(ROLLOUTS, "v2", {}))  # and no Secret
    packed = await pack(tmp_path, {"ORCHESTRATOR_DATABASE": str(tmp_path / "no.db")}, cluster(kubernetes))
    assert packed.part("cluster")["state"] == "incomplete"
    assert packed.part("cluster")["reason"].startswith("flag.json: ")
    assert [one["name"] for one in packed.json("cluster/rollouts.json")] == ["v2"]


async def test_a_section_that_breaks_is_named_with_its_error(tmp_path: Path) -> None:
    async def collect(bundle: support.Bundle) -> None:
        bundle.add("half.json", [1])
        raise ZeroDivisionError("by nought")

    packed = await pack(tmp_path, {}, support.Section("broken", "breaking", collect))
    assert packed.part("broken")["reason"] == "ZeroDivisionError: by nought"
    assert packed.json("half.json") == [1]


# -- the file


async def test_it_is_one_folder_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    packed = await pack(tmp_path, {})
    assert packed.folders == {"bundle"}
    assert stat.S_IMODE((tmp_path / "bundle.tar.gz").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.tar.gz"]


async def test_the_manifest_names_every_file_and_what_was_left_out(tmp_path: Path) -> None:
    packed = await pack(tmp_path, {})
    manifest = packed.json("manifest.json")
    assert manifest["files"].keys() == packed.files.keys() - {"README.txt", "manifest.json"}
    assert manifest["files"]["versions.json"] == len(packed.files["versions.json"].encode())
    assert all(what in packed.files["README.txt"] for what in manifest["left_out"])


async def test_of_a_long_log_the_end_is_kept_in_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {number:>10}\n" for number in range(200_000)))
    packed = await pack(tmp_path, {}, logs=[str(log)])
    lines = packed.files["logs/1-long.log.log"].splitlines()
    assert (lines[-1], len(lines[0])) == ("line     199999", 15)
    assert sum(map(len, lines)) < 2_000_000
    assert "were left out" in packed.json("manifest.json")["notes"][0]


async def test_a_file_that_cannot_be_written_names_the_option(tmp_path: Path) -> None:
    made = support.Bundle(support.Scrubber(support.known_secrets({}, [])), datetime.now(UTC), "1.2.3")
    with pytest.raises(InvalidInput, match="--output"):
        support.write(made, tmp_path / "nowhere" / "bundle.tar.gz")
