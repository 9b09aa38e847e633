"""A real Prometheus scrapes a real instance: every query of the dashboard and of the alerts has an
answer there, and Grafana's own SDK knows every field of the dashboard.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml
from conftest import NEEDS, RIG, ROOT, end, free_port, running, until
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import Runtime
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from kinds import KINDS
from rig.nvml import scenario
from served import LONG, Served

from launcher.operate.metrics import COUNTED, FIGURES

MONITORING = ROOT / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
VARIABLES = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
(GROUP,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
EVERY = {
    f"glm5_serve_{name}" + "_total" * (kind is COUNTED) for name, (kind, *_) in FIGURES.items()
}
# A second profile, that does not answer its smoke test rightly and is given up.
LOST = "lost"
CANARY = """[canary]
every = 1
asks = ["fact"]
"""
# What a small machine lacks for two GPUs.
ROOM = """[doctor]
allow = ["host-memory", "memory-limit", "shared-memory"]
"""


def names(text: str) -> set[str]:
    """The figures that a query asks for."""
    return set(re.findall(r"glm5_serve_\w+", text))


# -- Prometheus ------------------------------------------------------------------------------------


@dataclass
class Prometheus:
    """One that scrapes an exporter, and how it is asked."""

    port: int
    target: str

    def ask(self, what: str, **words: str) -> Any:
        """The data of an answer; asserts that it is no error."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}"
        answer = requests.get(url, params=words, timeout=60)
        told = answer.json()
        assert told["status"] == "success", (words, told)
        return told["data"]

    def rows(self, query: str) -> list[dict[str, str]]:
        """The labels of each row that a query has now."""
        return [row["metric"] for row in self.ask("query", query=query)["result"]]

    def names(self) -> set[str]:
        """The figures that it got."""
        return {name for name in self.ask("label/__name__/values") if name in EVERY}

    def twice(self) -> set[str]:
        """Those that it got twice; none while it does not answer yet."""
        every = '{__name__=~"glm5_serve_.+"}'
        with contextlib.suppress(requests.RequestException, ValueError):
            rows = self.ask("query", query=f"{every}[1h]")["result"]
            return {row["metric"]["__name__"] for row in rows if len(row["values"]) > 1}
        return set()

    def alerts(self, wanted: set[tuple[str, str]]) -> list[dict[str, Any]]:
        """Those that fire or are pending, once `wanted`, profiles and names, are among them."""
        told = self.ask("alerts")["alerts"]
        there = {(one["labels"].get("profile"), one["labels"]["alertname"]) for one in told}
        return list(told) if there >= wanted else []

    def chosen(self, text: str) -> str:
        """A query as Grafana sends it while all values of each variable are chosen by hand."""
        for name, variable in VARIABLES.items():
            if variable["type"] == "query" and f"${name}" in text:
                text = text.replace(f"${name}", f"({'|'.join(self.values(name))})")
        return text

    def values(self, name: str) -> list[str]:
        """What a variable of the dashboard offers."""
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", VARIABLES[name]["query"])
        assert asked, name
        series = {"match[]": self.chosen(asked[1])}
        return list(self.ask(f"label/{asked[2]}/values", **series))


@pytest.fixture(
    scope="module",
    params=[
        "stub",
        *(
            pytest.param(
                name, marks=[pytest.mark.engine(KINDS[name].kind), NEEDS[KINDS[name].kind]]
            )
            for name in ("real1", "vllm1")
        ),
    ],
)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server that is ready, with a canary, and one beside it that was given up; the stand-in has
    GPUs of the stand-in driver.
    """
    made = Served(tmp_path_factory.mktemp(request.param), request.param)
    made.write_profile(f"{CANARY}{ROOM}")
    gpus: dict[str, str] = {}
    if not made.is_real:
        made.faults(steps={"seconds": 0.0005, "accepted": 3})
        uuids = {f"gpu.{gpu}.uuid": uuid for gpu, uuid in enumerate(made.take_gpus())}
        host = scenario.write(made.folder / "host", scenario.host(2, temp=61) | uuids)
        gpus = scenario.environ(scenario.library(made.folder), host)
    up = made.run("up", "-p", "stub", "-d", **gpus)
    assert up.returncode == 0, up.stderr
    lose(made)
    yield made
    end(made)


def lose(world: Served) -> None:
    """A stand-in engine beside it, that is asked, answers wrongly, and is given up."""
    faults = world.folder / "lost.json"
    faults.write_text(json.dumps({"answer": "I do not know."}))
    world.profile.with_name(f"{LOST}.toml").write_text(f"""[engine]
python = "{sys.executable}"
[flags]
model-path = "{world.folder}/model"
device = "cpu"
port = {free_port()}
[supervision]
restart_limit = 0
[env]
PYTHONPATH = "{RIG}/stub"
STUB_FAULTS = "{faults}"
""")
    assert world.run("up", "-p", LOST, "-d").returncode == 1


@pytest.fixture(scope="module")
def prometheus(world: Served) -> Iterator[Prometheus]:
    """It, once it has what there is to have of a server that is ready, and twice what increases."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("no prometheus here: the package of that name has it")
    made = Prometheus(free_port(), f"127.0.0.1:{free_port()}")
    folder = world.folder / "prometheus"
    folder.mkdir()
    scrape = {"job_name": "glm5-serve", "static_configs": [{"targets": [made.target]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [scrape],
        "rule_files": [str(MONITORING / "alerts.yml")],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    world.start("metrics", "--listen", made.target)
    words = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{made.port}",
    )
    wanted = EVERY if not world.is_real else {"glm5_serve_canary_seconds"}
    with (
        (folder / "log").open("w") as log,
        running(found, *words, cwd=folder, stdout=log, stderr=subprocess.STDOUT),
    ):
        until(lambda: made.twice() >= wanted, f"two of each figure: {folder}/log", LONG)
        yield made


def test_each_panel_has_an_answer_where_there_are_its_figures(
    world: Served, prometheus: Prometheus
) -> None:
    """And each label that a legend names."""
    told = prometheus.names()
    empty = {}
    for title, panel in PANELS.items():
        for target in panel["targets"]:
            rows = prometheus.rows(prometheus.chosen(target["expr"]))
            empty[title] = not rows and names(target["expr"]) <= told
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert all(wanted <= {*row} for row in rows), (title, rows)

    assert not [title for title, is_empty in empty.items() if is_empty]
    ours = prometheus.rows(prometheus.chosen('glm5_serve_ready{profile="stub"} == 1'))
    labels = {"job": "glm5-serve", "instance": prometheus.target, "engine": world.kind.kind}
    assert [{**row, **labels} for row in ours] == ours != []


def test_the_variables_offer_what_there_is(prometheus: Prometheus) -> None:
    assert prometheus.values("profile") == [LOST, "stub"]
    assert prometheus.values("instance") == [prometheus.target]


def test_no_alert_is_an_error_and_those_of_the_lost_one_fire(prometheus: Prometheus) -> None:
    (group,) = prometheus.ask("rules")["groups"]
    assert {
        rule["name"]: (rule["health"], rule.get("lastError")) for rule in group["rules"]
    } == dict.fromkeys(RULES, ("ok", None))
    for rule in RULES.values():  # a comparison says nothing where all is well; its figures do
        for name in names(rule["expr"]) & prometheus.names():
            assert prometheus.rows(name)
            assert {"instance", "job", "profile", "engine"} <= {*prometheus.rows(name)[0]}
    wanted = {(LOST, f"Glm5Serve{what}") for what in ("NotReady", "Failed", "AnswersWrongly")}
    alerts = until(lambda: prometheus.alerts(wanted), f"these fire, or are about to: {wanted}")
    assert {(one["labels"]["profile"], one["labels"]["alertname"]) for one in alerts} == wanted
    [wrong] = [one for one in alerts if one["state"] == "firing"]
    summary = f"{LOST} on {prometheus.target} did not pass its smoke test"
    assert wrong["annotations"]["summary"] == summary
    assert "no value" not in json.dumps(alerts)


# -- Grafana ---------------------------------------------------------------------------------------


def lost(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Where a value of JSON has what another has not, or has otherwise."""
    match one, other:
        case {}, {}:
            for key, value in one.items():
                yield from lost(value, other.get(key), f"{at}/{key}")
        case [*_], [*_] if len(one) == len(other):
            for index, value in enumerate(one):
                yield from lost(value, other[index], f"{at}/{index}")
        case _ if one != other:
            yield at


def read(dashboard: dict[str, Any]) -> dict[str, Any]:
    """A dashboard as Grafana's SDK has read it: what it does not know is gone."""
    register_default_plugins()
    copied = json.loads(json.dumps(dashboard))
    return dict(json.loads(JSONEncoder().encode(Dashboard.from_json(copied))))


def test_grafana_knows_each_field_of_the_dashboard() -> None:
    assert [*lost(DASHBOARD, read(DASHBOARD))] == []
    known = {value for name, value in vars(units).items() if isinstance(value, str)}
    for title, panel in PANELS.items():
        assert panel["type"] in Runtime().panelcfg_variants, title
        assert panel["fieldConfig"]["defaults"]["unit"] in known, title


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"refersh": "30s"}, "/refersh"),
        ({"panels": [{"type": "stat", "titel": "Ready"}]}, "/panels/0/titel"),
        ({"panels": [{"type": "stat", "targets": [{"exrp": "up"}]}]}, "/panels/0/targets/0/exrp"),
        ({"panels": [{"type": "stat", "options": {"x": 1}}]}, "/panels/0/options/x"),
    ],
)
def test_a_field_that_grafana_does_not_know_is_found(change: dict[str, Any], place: str) -> None:
    made = DASHBOARD | change
    for panel in made["panels"]:
        for target in panel.get("targets", []):
            target.setdefault("datasource", {"type": "prometheus"})

    assert place in [*lost(made, read(made))]


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for title, panel in PANELS.items():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, title
        assert at["x"] + at["w"] <= 24, title
        taken |= cells
