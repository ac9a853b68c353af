"""The alert rules and the dashboard in deploy/: they ask for metrics that there are, and say what they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.core import Metric

from shield.model import Action, Fault
from shield.operator import exposition
from shield.operator.metrics import Metrics
from tests.operator.test_metrics import families
from tests.operator.test_status import make_status

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "shield.rules.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "shield.json"
NAME: Final = re.compile(r"\bshield_[a-z_]+")
MATCHER: Final = re.compile(r'(fault|action)=~?"([^"]+)"')
INFO: Final = "shield_build_info"  # of the admin server itself
PROMTOOL: Final = shutil.which("promtool")
pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="deploy/ is no part of the wheel")
SUFFIXES: Final = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}


def exposed() -> set[str]:
    """The names of all samples that /metrics can have."""
    found: list[Metric] = [*families(Metrics()), *exposition.families(make_status())]
    for label in ("server", "worker"):
        found += exposition.labelled(label, {"one": Metrics().upstream("one")})
    return {metric.name + suffix for metric in found for suffix in SUFFIXES.get(metric.type, [""])} | {INFO}


def panels() -> list[dict[str, Any]]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return list(dashboard["panels"])


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_what_they_ask_for_is_there() -> None:
    asked = set(NAME.findall("\n".join(expressions())))
    asked |= set(NAME.findall("\n".join(re.findall(r"expr: (.*(?:\n {10}.*)*)", RULES.read_text("utf-8")))))
    assert len(asked) > 25
    assert asked - exposed() == set()


def test_the_labels_that_they_ask_for_can_come() -> None:
    values = {"fault": {fault.value for fault in Fault}, "action": {action.value for action in Action}}
    for label, pattern in MATCHER.findall(RULES.read_text("utf-8") + "\n".join(expressions())):
        for choice in pattern.split("|"):
            assert any(re.fullmatch(choice, value) for value in values[label]), (label, choice)


def test_every_panel_says_what_it_shows_and_none_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["description"].endswith(".")
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")
@pytest.mark.parametrize("command", [["check", "rules", "shield.rules.yml"], ["test", "rules", "shield.test.yml"]])
def test_promtool_finds_them_right(command: list[str]) -> None:
    assert PROMTOOL is not None
    told = subprocess.run(
        [PROMTOOL, *command], check=False, cwd=RULES.parent, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{i}", "expr": expression.replace("$instance", ".*")}
        for i, expression in enumerate(expressions())
    ]
    assert PROMTOOL is not None
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")  # JSON is YAML
    told = subprocess.run([PROMTOOL, "check", "rules", file], check=False, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout + told.stderr
