"""The dashboards as JSON: whether Grafana and a person can read them. Their queries: tests/e2e/test_main_line.py."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.__main__ import GENERATED, files, main
from dashboards.board import DOCS
from tests.support import boards

if TYPE_CHECKING:
    from pathlib import Path

SCREEN = 21  # rows of Grafana's grid on a screen of 1280 by 900 beside its own headings
DOCUMENTS = boards.documents()
PANELS = [(uid, panel) for uid, document in DOCUMENTS.items() for panel in boards.panels(document)]


def title(value: Any) -> str:
    return value["title"] if isinstance(value, dict) else str(value)


class TestGenerating:
    def test_what_is_committed_is_what_the_code_says(self) -> None:
        assert main(["--check"]) == 0

    def test_a_file_edited_by_hand_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--output", str(tmp_path)])
        (tmp_path / "orchestrator-engines.json").write_text("{}")
        (tmp_path / "left-over.json").write_text("{}")
        assert main(["--check", "--output", str(tmp_path)]) == 1
        named = capsys.readouterr().err.splitlines()
        assert [line.split()[0].rsplit("/", 1)[1] for line in named] == ["orchestrator-engines.json", "left-over.json"]

    def test_only_what_changed_is_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--output", str(tmp_path)])
        capsys.readouterr()
        main(["--output", str(tmp_path)])
        assert capsys.readouterr().out == ""

    def test_another_objective_changes_the_rules_and_nothing_else(self) -> None:
        usual, strict = files(), files(objective=0.999)
        assert {name for name in usual if usual[name] != strict[name]} == {"alerts.yaml", "prometheusrule.yaml"}
        assert "> 0.0144" in strict["alerts.yaml"]

    def test_another_address_of_the_docs_is_in_every_file_and_the_usual_one_in_none(self) -> None:
        for name, text in files(docs="https://git.acme.test/docs").items():
            assert "https://git.acme.test/docs" in text, name
            assert DOCS not in text, name

    @pytest.mark.parametrize("text", ["docs", "ftp://git.acme.test/docs", "https://", "https://git.acme.test/#docs"])
    def test_an_address_that_no_browser_could_open_is_refused(
        self, text: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["--docs", text, "--check"])
        assert "--docs" in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["1", "0", "99", "x"])
    def test_an_objective_that_is_no_share_is_refused(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--objective", text, "--check"])
        assert "--objective" in capsys.readouterr().err


@pytest.mark.parametrize("uid", DOCUMENTS)
class TestBoard:
    def test_grafanas_own_model_reads_it_without_losing_anything(self, uid: str) -> None:
        register_default_plugins()
        document = DOCUMENTS[uid] | {"annotations": {}}  # of an annotation it knows only what all data sources share
        again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
        assert again == document

    def test_panels_stand_beside_each_other_and_never_on_each_other(self, uid: str) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in DOCUMENTS[uid]["panels"]:
            place = panel["gridPos"]
            columns = range(place["x"], place["x"] + place["w"])
            cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
            assert not cells & taken, panel["title"]
            assert max(columns) < 24
            taken |= cells
        height = max(row for _, row in taken) + 1
        assert len(taken) == 24 * height  # no holes either

    def test_a_screen_shows_at_most_twelve_panels(self, uid: str) -> None:
        places = [panel["gridPos"] for panel in boards.panels(DOCUMENTS[uid])]
        for top in {place["y"] for place in places}:
            whole = [p for p in places if top <= p["y"] and p["y"] + p["h"] <= top + SCREEN]
            assert len(whole) <= 12

    def test_ids_are_those_of_a_link(self, uid: str) -> None:
        ids = [panel["id"] for panel in DOCUMENTS[uid]["panels"]]
        assert len(ids) == len(set(ids))

    def test_it_asks_for_data_source_namespace_and_job(self, uid: str) -> None:
        names = [variable["name"] for variable in DOCUMENTS[uid]["templating"]["list"]]
        assert names[:4] == ["docs", "datasource", "namespace", "job"]

    def test_it_leads_to_the_others_with_what_was_chosen(self, uid: str) -> None:
        link, _ = DOCUMENTS[uid]["links"]
        assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
            *("dashboards", ["orchestrator"]),
            *(True, True),
        )
        assert all(document["tags"] == ["orchestrator"] for document in DOCUMENTS.values())

    def test_it_leads_to_the_runbook_and_so_do_the_alerts_that_fire(self, uid: str) -> None:
        _, ours = DOCUMENTS[uid]["links"]
        (panel,) = (panel for panel in boards.panels(DOCUMENTS[uid]) if panel["title"] == "Alerts firing")
        (its,) = panel["links"]
        assert {(link["type"], link["url"], link["targetBlank"]) for link in (ours, its)} == {
            ("link", "${docs:raw}/runbook.md", True)
        }

    def test_the_address_of_the_docs_is_a_variable_that_no_link_to_the_board_can_change(self, uid: str) -> None:
        docs = DOCUMENTS[uid]["templating"]["list"][0]
        assert (docs["name"], docs["type"], docs["hide"], docs["skipUrlSync"]) == ("docs", "constant", 2, True)
        assert docs["query"].startswith("https://")

    def test_the_address_stands_where_kustomize_looks_for_it(self, uid: str) -> None:
        text = (GENERATED / f"{uid}.json").read_text(encoding="utf-8")
        assert text.split('"')[7] == DOCUMENTS[uid]["templating"]["list"][0]["query"]


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=title)
class TestPanel:
    def test_it_says_what_it_shows(self, uid: str, panel: dict[str, Any]) -> None:
        assert len(panel["title"]) <= (20 if panel["type"] == "stat" else 40)  # of a sixth, or a third, of 1280 pixels
        assert len(panel["description"]) > 20
        assert panel["description"].endswith(".")

    def test_its_source_is_the_chosen_one(self, uid: str, panel: dict[str, Any]) -> None:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)

    def test_each_series_has_a_name(self, uid: str, panel: dict[str, Any]) -> None:
        if panel["type"] == "table":
            return
        assert all(target["legendFormat"] for target in panel["targets"])

    def test_a_number_has_a_unit(self, uid: str, panel: dict[str, Any]) -> None:
        if panel["type"] in ("timeseries", "stat"):
            assert panel["fieldConfig"]["defaults"]["unit"]

    def test_it_looks_at_what_was_chosen(self, uid: str, panel: dict[str, Any]) -> None:
        for target in panel["targets"]:
            for selector in re.findall(r"(\w+)\{([^}]*)\}", target["expr"]):
                metric, labels = selector
                chosen = 'namespace=~"$namespace",job=~"$job"' in labels
                assert chosen or metric == "ALERTS", target["expr"]

    def test_a_graph_lets_grafana_choose_the_window_of_a_rate(self, uid: str, panel: dict[str, Any]) -> None:
        if panel["type"] == "timeseries":
            windows = [window for target in panel["targets"] for window in re.findall(r"\[([^\]]+)\]", target["expr"])]
            assert set(windows) <= {"$__rate_interval", "$__rate_interval:15s"}

    def test_it_is_wide_enough(self, uid: str, panel: dict[str, Any]) -> None:
        assert panel["gridPos"]["w"] >= (4 if panel["type"] == "stat" else 8)


def test_every_file_is_one_of_ours() -> None:
    assert {path.name for path in GENERATED.iterdir()} == files().keys()
