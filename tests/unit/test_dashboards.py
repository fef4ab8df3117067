"""Dashboards and rules: well formed, complete, and about series that exist."""

from __future__ import annotations

import itertools
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana.build import files
from grafana.runbook import sections
from nearhit.telemetry.metrics import Metrics
from tests.support import observability as seen

if TYPE_CHECKING:
    from pathlib import Path

NOT_SHOWN: dict[str, str] = {
    "nearhit_reconnects_total": "explains a failover afterwards; what it costs is in lookups, fills and errors",
}
"""Series that no dashboard and no rule uses, with the reason."""

KINDS = {"stat", "timeseries", "heatmap", "table", "text"}
UNITS = {"short", "string", "percentunit", "s", "reqps", "ops", "bytes", "currencyUSD"}
BOARDS = seen.boards()
PANELS = [(board, panel) for board in BOARDS for panel in seen.panels(board)]
NAMES = [f"{board['title']}: {panel['title']}" for board, panel in PANELS]
OPERATIONS = (seen.ROOT / "docs" / "operations.md").read_text()


def test_the_committed_dashboards_are_what_the_build_makes() -> None:
    made = files()
    assert {path: path.read_text() for path in seen.DASHBOARDS} == made


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=NAMES)
def test_a_panel_says_what_it_shows_in_which_unit(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert panel["type"] in KINDS
    assert panel["title"]
    assert len(panel["description"]) > 20
    if panel["type"] == "text":
        assert panel["options"]["content"]
        return
    assert panel["targets"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["expr"]
        assert target["instant"] is not target["range"]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=NAMES)
def test_thresholds_rise_from_no_bound(board: dict[str, Any], panel: dict[str, Any]) -> None:
    thresholds = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds")
    if panel["type"] in {"text", "heatmap"}:
        assert thresholds is None
        return
    values = [step["value"] for step in thresholds["steps"]]
    assert values[0] is None
    assert values[1:] == sorted(values[1:])
    assert panel["type"] != "stat" or panel["fieldConfig"]["defaults"]["color"] == {"mode": "thresholds"}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
def test_panels_fill_the_grid_without_lying_on_one_another(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
def test_every_variable_that_is_used_is_defined(board: dict[str, Any]) -> None:
    defined = {one["name"] for one in board["templating"]["list"]}
    built_in = {"__rate_interval", "__range", "__interval", "__all"}
    used = set(re.findall(r"\$\{?(\w+)", str(board["panels"]) + str(board["templating"]) + str(board["links"])))
    used -= {name for name in used if name.isdigit()}
    texts = {name for panel in seen.panels(board) if panel["type"] == "text" for name in used}
    assert used - built_in - texts <= defined


def test_dashboards_link_to_one_another_and_to_sections_of_the_runbook() -> None:
    by_uid = {board["uid"]: board for board in BOARDS}
    runbook = {panel["id"]: panel["description"] for panel in by_uid["nearhit-runbook"]["panels"]}
    links = 0
    for board, panel in PANELS:
        for link in panel.get("links", []):
            found = re.fullmatch(r"/d/nearhit-runbook\?viewPanel=(\d+)", link["url"])
            assert found, f"{panel['title']}: {link['url']}"
            assert int(found[1]) in runbook
            links += 1
        assert board["uid"] == "nearhit-runbook" or {one["title"] for one in board["links"]} == {"Nearhit", "Runbook"}
    assert links > 30


def test_the_runbook_dashboard_is_the_runbook_of_the_docs() -> None:
    board = next(one for one in BOARDS if one["uid"] == "nearhit-runbook")
    texts = [(one.title, one.text) for one in sections(OPERATIONS)]
    assert [(one["title"], one["options"]["content"]) for one in board["panels"]] == texts
    assert len(texts) >= 15


def test_every_series_that_is_asked_for_is_exported() -> None:
    recorded = {rule["record"] for rule in seen.rules() if "record" in rule}
    known = seen.exported().keys() | recorded | seen.REDIS_EXPORTER | seen.PROMETHEUS | seen.PROCESS
    for asked in [*seen.panel_queries(), *seen.rule_queries()]:
        assert asked.series, asked.where
        assert asked.series <= known, f"{asked.where}: {asked.series - known}"


def test_a_quantile_of_nothing_is_no_series() -> None:
    """Without observations it is ``NaN``, which is not 0 and would stand in the legend."""
    asked = [one for one in seen.panel_queries() if "histogram_quantile" in one.expr]
    assert len(asked) > 10
    for one in asked:
        assert one.expr.startswith("(histogram_quantile("), one.where
        assert one.expr.endswith(" >= 0)"), one.where


def test_every_exported_series_is_shown_or_listed_with_its_reason() -> None:
    used = set().union(*(asked.series for asked in [*seen.panel_queries(), *seen.rule_queries()]))
    assert seen.exported().keys() - used == set(NOT_SHOWN)


def test_every_series_of_redis_exporter_on_the_list_is_used() -> None:
    used = set().union(*(asked.series for asked in [*seen.panel_queries(), *seen.rule_queries()]))
    assert used >= seen.REDIS_EXPORTER


def test_every_label_that_is_matched_is_one_of_the_series() -> None:
    exported = seen.exported()
    for asked in [*seen.panel_queries(), *seen.rule_queries()]:
        for series, labels in asked.selectors:
            if series in exported:
                assert labels <= exported[series] | {"instance", "job", "le"}, asked.where


def test_every_label_value_that_is_matched_exists() -> None:
    values: dict[str, set[str]] = {}
    for family in seen_worker_and_client():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    for asked in [*seen.panel_queries(), *seen.rule_queries()]:
        for _, label, operator, wanted in re.findall(r'(nearhit_\w+|,)\{?(\w+)(=~|!~|!=|=)"([^"$]*)"', asked.expr):
            if label in {"tier", "outcome", "lane", "stage", "side", "reason"}:
                for one in wanted.split("|"):
                    known = any(re.fullmatch(one, value) for value in values[label])
                    assert known, f"{asked.where}: {label}{operator}{one}"


def seen_worker_and_client() -> list[Any]:
    metrics = Metrics()
    metrics.describe("worker", model="m", engine="auto", threshold=0.9)
    metrics.describe("client", model="m", engine="auto", threshold=0.9)
    for lane in ("interactive", "bulk"):
        metrics.log_depth[lane]
    return list(metrics.registry.collect())


@pytest.mark.parametrize("alert", seen.alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_names_what_happens_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("Nearhit")
    assert alert["labels"]["severity"] in {"warning", "critical"}
    notes = alert["annotations"]
    assert notes["summary"].endswith(".")
    numbers = {one.anchor: one.number for one in sections(OPERATIONS)}
    anchor = notes["runbook_url"].partition("#")[2]
    board = f"{{{{ $externalLabels.grafana }}}}/d/nearhit-runbook?viewPanel={numbers[anchor]}#{anchor}"
    assert notes["runbook_url"] == board
    before, _, uid = notes["dashboard_url"].partition("/d/")
    assert before == "{{ $externalLabels.grafana }}"
    assert uid in {board["uid"] for board in BOARDS}


def test_every_section_of_the_runbook_belongs_to_an_alert() -> None:
    anchors = {alert["annotations"]["runbook_url"].partition("#")[2] for alert in seen.alerts()}
    assert {one.anchor for one in sections(OPERATIONS)} == anchors


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for path in seen.RULE_TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for one in case["alert_rule_test"]:
                (fires if one.get("exp_alerts") else silent).add(one["alertname"])
    names = {alert["alert"] for alert in seen.alerts()}
    assert fires == names
    assert silent == names


def test_the_rules_pass_their_tests() -> None:
    done = subprocess.run(
        [seen.program("promtool"), "test", "rules", *map(str, seen.RULE_TESTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_is_promql(tmp_path: Path) -> None:
    queries = [
        {"record": f"panel:{number}", "expr": seen.filled_in(one.expr)}
        for number, one in enumerate(seen.panel_queries())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": queries}]}))
    command = [seen.program("promtool"), "check", "rules", str(path), *map(str, seen.RULES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tool", "words", "name"),
    [("promtool", ("check", "config"), "prometheus.yml"), ("amtool", ("check-config",), "alertmanager.yml")],
)
def test_the_configuration_is_valid(tool: str, words: tuple[str, ...], name: str) -> None:
    path = seen.ROOT / "prometheus" / name
    command = [seen.program(tool), *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
