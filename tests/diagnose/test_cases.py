"""Logs of others: what is said of each, and of healthy ones that nothing is."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from conftest import ROOT

from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import engine
from launcher.engines.engine import dialect
from launcher.engines.failures import failures
from launcher.knowledge.families import FAMILIES, SERVES, STOPPED
from launcher.output import diagnosis

HERE = Path(__file__).parent
with (HERE / "cases/expected.tsv").open() as file:
    CASES = list(csv.DictReader(file, delimiter="\t"))
HEALTHY = [*(HERE / "healthy").glob("*.log"), ROOT / "tests/hosts/asus8x/dmesg.txt"]
# Of other programs: docker, systemd, ours.
OTHERS = set(
    "--memory --ulimit --pids-limit --gpus --runtime --device --ipc --shm-size --deep --only --hash"
    " --set --entrypoint --summary --version --now --explain --to-release --file --host --cap-add"
    " --security-opt --avoid --user --system".split()
)


def said_of(path: Path) -> Diagnosis:
    return diagnose_text([path.read_bytes()])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_what_a_log_of_others_tells(case: dict[str, str]) -> None:
    found = said_of(HERE / "cases" / case["file"])

    assert (found.cause, found.family) == (case["cause"], case["family"])
    assert (found.engine or "", found.knob or "") == (case["engine"], case["knob"])


def test_every_case_stands_in_the_list_with_its_source() -> None:
    assert {case["file"] for case in CASES} == {
        path.name for path in (HERE / "cases").glob("*.log")
    }
    assert all(case["source"] for case in CASES)


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.name)
def test_of_a_healthy_log_nothing_is_said(path: Path) -> None:
    found = said_of(path)

    assert not found.is_known, found.what
    assert (found.knob, found.then) == (None, "again")
    assert "died" not in found.what
    assert "last of what died first" not in found.fix


def test_a_log_of_a_server_that_was_stopped_has_nothing_to_explain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = said_of(HERE / "healthy/96-sigterm-clean-stop.log")
    assert diagnosis.show(found, as_json=False) == 0
    assert "it was asked to stop, and went" in capsys.readouterr().out


def test_memory_that_vllm_goes_on_without_pinning_is_no_cause() -> None:
    died = "RuntimeError: cudaHostRegister failed: 801"
    goes_on = "cudaHostRegister failed (code=801) — transfers will still work but may be slower"

    for line, says in ((died, True), (f"WARNING 11-01 10:00:00 {goes_on} (unpinned DMA)", False)):
        assert ("cuda-pinned-memory" in str(diagnose_text([f"{line}\n".encode()]))) is says


def test_ten_logs_are_healthy() -> None:
    assert len(HEALTHY) >= 10


def test_each_log_has_a_family_of_the_list() -> None:
    paths = [*(HERE / "cases").glob("*.log"), *HEALTHY]

    assert {said_of(path).family for path in paths} <= set(FAMILIES)
    assert {STOPPED, SERVES} <= {said_of(path).family for path in HEALTHY}


def test_in_a_log_of_one_engine_no_option_of_another_is_named() -> None:
    """What everybody is told names no option but those that each engine has."""
    known = {
        name: {
            option
            for release in dialect(name).options.releases
            for option in dialect(name).options.release(release).options
        }
        for name in engine.NAMES
    }
    for row in failures().values():
        for name in (row.engine,) if row.engine else (None, *engine.NAMES):
            told = row.told(name)
            named = set(
                re.findall(r"--[a-z][a-z0-9-]+[a-z0-9]", f"{told.what} {told.fix} {told.knob}")
            )
            has = known[name] if name else known["sglang"] & known["vllm"]
            assert not named - OTHERS - has, (row.id, name)


def test_what_everybody_is_told_spells_no_option_of_one_engine_alone() -> None:
    """Nor in words: `switch the fusion of shared experts off` is an option of SGLang."""
    switches = ("disable", "enable", "no")

    def options(name: str) -> set[frozenset[str]]:
        catalogue = dialect(name).options
        said = {each for at in catalogue.releases for each in catalogue.release(at).options}
        return {frozenset(each.strip("-").split("-")).difference(switches) for each in said}

    known = {name: options(name) for name in engine.NAMES}
    alone = {each for each in known["sglang"] ^ known["vllm"] if len(each) >= 3}
    told = {row.id: f"{row.what} {row.fix}" for row in failures().values() if not row.engine}
    words = {id: set(re.findall("[a-z]+", text.lower())) for id, text in told.items()}

    assert {"shared", "experts", "fusion"} in alone
    assert not [(id, *each) for id, spelt in words.items() for each in alone if each <= spelt]


def test_one_engines_answer_to_a_shape_is_not_told_of_another() -> None:
    said = "RuntimeError: The size of tensor a (3072) must match the size of tensor b (6144)"
    begins = "(Worker_TP0 pid=7) ERROR 04-28 09:04:21 [multiproc_executor.py:930] "
    frame = f'{begins}  File "/opt/vllm/model_executor/layers/linear.py", line 4, in '

    def cause(*lines: str) -> str:
        return diagnose_text(["\n".join(lines).encode()]).cause

    assert cause(said) == "shared-experts-fusion"
    assert cause(f"{frame}weight_loader", begins + said) == "vllm-weight-of-other-shape"
    assert cause(f"{frame}forward", begins + said) == "unknown"
