"""Several servers of one profile: what is each one's own, and which cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.config.load import PlanRequest
from launcher.config.select import rows
from launcher.config.target import TargetOptions, planned
from launcher.errors import UserError
from launcher.host.facts import Driver, Gpu, known
from launcher.plan.plan import Plan
from launcher.statedir.replica import split

EIGHT = TESTS / "hosts/asus8x.json"  # two root complexes of four
UUIDS = [f"GPU-00000000-0000-4000-8000-{at:012}" for at in range(1, 9)]


def plan(
    word: str, *settings: str, state: Path = Path("/nonexistent"), facts: Path | None = None
) -> Plan:
    environ = {"GLM5_SERVE_STATE_DIR": str(state), "HOME": "/nonexistent"}
    aim = TargetOptions(facts=facts) if facts else TargetOptions("0.5.23", "sm120")
    return planned(PlanRequest(word, settings), environ, aim)[0]


def refusal(word: str, *settings: str, facts: Path | None = None) -> str:
    with pytest.raises(UserError) as refused:
        plan(word, *settings, facts=facts)
    return f"{refused.value.what}; {refused.value.fix}"


def test_one_server_is_no_replica_and_behind_no_gateway() -> None:
    made = plan("cpu-demo")

    assert (made.name, made.port, made.gateway) == ("cpu-demo", 30100, "")
    assert made.policy.leave_within == 0


def test_each_replica_has_a_name_a_port_and_a_state_folder_of_its_own() -> None:
    first, second = (plan(f"cpu-demo@{at}", "replicas=2") for at in (1, 2))

    assert (first.name, second.name) == ("cpu-demo@1", "cpu-demo@2")
    assert (first.port, second.port) == (30100, 30101)
    assert (second.flag("port"), Path(second.state).name) == ("30101", "cpu-demo@2")
    assert {first.gateway, second.gateway} == {"gateway"}
    assert second.policy.leave_within > 0


def test_the_name_alone_is_the_first_replica_and_says_so() -> None:
    made = plan("cpu-demo", "replicas=3")

    assert made.name == "cpu-demo@1"
    assert any("one of 3 replicas, for" in note for note in made.notes)


def test_how_many_gpus_replicas_want_is_said_where_nobody_knows_how_many_there_are() -> None:
    made = plan("8xpro6000", "replicas=2")

    assert any("one of 2 replicas of 8 GPUs each, on one host" in note for note in made.notes)
    assert any("which GPUs it has is unknown here" in note for note in made.notes)


def test_a_replica_is_asked_for_again_by_what_its_plan_keeps() -> None:
    made = plan("cpu-demo@2", "replicas=2")

    again = plan(made.words["profile"], *made.words["settings"])
    assert (again.name, again.argv) == (made.name, made.argv)


@given(st.integers(2, 8), st.integers(1, 8))
def test_no_two_replicas_meet_at_a_port(count: int, step: int) -> None:
    told = f'access.health_listen="127.0.0.1:{30100 + step + count}"'
    made = [plan(f"cpu-demo@{at}", f"replicas={count}", told) for at in range(1, count + 1)]

    ports = [one.port for one in made] + [int(one.health_listen.rpartition(":")[2]) for one in made]
    assert len(set(ports)) == 2 * count


def test_replicas_split_the_gpus_by_root_complex_and_name_them_by_uuid() -> None:
    made = [plan(f"8xpro6000@{at}", "replicas=2", "flags.tp-size=4", facts=EIGHT) for at in (1, 2)]

    assert [one.env["CUDA_VISIBLE_DEVICES"].split(",") for one in made] == [UUIDS[:4], UUIDS[4:]]


def test_of_the_gpus_that_a_profile_names_each_replica_gets_its_part() -> None:
    settings = ("replicas=2", "flags.tp-size=1", "env.CUDA_VISIBLE_DEVICES=6,2")

    made = [plan(f"8xpro6000@{at}", *settings, facts=EIGHT).env for at in (1, 2)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in made] == ["6", "2"]


def test_a_server_alone_gets_no_gpus_of_its_own() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in plan("8xpro6000", facts=EIGHT).env


def test_gpus_that_nobody_knows_are_not_made_up() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in plan("8xpro6000@2", "replicas=2").env


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("replicas=2",), "2 replicas of 8 GPUs each want 16, this host has 8"),
        (("replicas=3", "flags.tp-size=4"), "3 replicas of 4 GPUs each want 12"),
        (
            ("replicas=2", "flags.tp-size=1", "env.CUDA_VISIBLE_DEVICES=3,3"),
            "names GPU 3 twice: two replicas on it",
        ),
        (
            ("replicas=2", "flags.tp-size=2", "env.CUDA_VISIBLE_DEVICES=0,1,2"),
            "want 4, env.CUDA_VISIBLE_DEVICES names 3",
        ),
        (("replicas=2", "flags.base-gpu-id=4"), "flags.base-gpu-id: the 2 replicas would share"),
        (("replicas=2", "flags.nccl-port=29500"), "flags.nccl-port: the 2 replicas would share"),
        (("replicas=2", "flags.dist-init-addr=a:1"), "flags.dist-init-addr"),
        (("replicas=2", "flags.nnodes=2"), "servers of one host each"),
        (
            ("replicas=2", 'nodes.hosts=["10.0.0.1", "10.0.0.2"]', "flags.host=false"),
            "servers of one host each",
        ),
        (
            ("replicas=2", 'access.health_listen="127.0.0.1:8001"', "flags.port=8000"),
            "port 8001 is that of a replica",
        ),
        (("replicas=2", "flags.port=65535"), "end at 65536"),
        (("replicas=2", "gateway=8xpro6000"), "the profile itself is called so"),
        (("replicas=0",), "replicas"),
        (("gateway=a/b",), "gateway"),
    ],
)
def test_replicas_that_would_meet_are_refused_with_the_reason(
    settings: tuple[str, ...], words: str
) -> None:
    assert words in refusal("8xpro6000", *settings, facts=EIGHT)


@pytest.mark.parametrize(("rank", "gateway"), [(0, "front"), (1, "")])
def test_of_several_hosts_the_first_alone_is_behind_a_gateway(rank: int, gateway: str) -> None:
    hosts = 'nodes.hosts=["10.0.0.1", "10.0.0.2"]'
    made = plan("8xpro6000", hosts, "flags.host=false", f"nodes.rank={rank}", "gateway=front")

    assert made.gateway == gateway
    assert (made.policy.leave_within > 0) == bool(gateway)


def test_a_replica_that_the_profile_has_not_is_refused() -> None:
    assert "has 2 replicas (`replicas`), and no cpu-demo@3" in refusal("cpu-demo@3", "replicas=2")
    assert "has 1 server" in refusal("cpu-demo@1")


def test_an_option_that_is_left_out_is_shared_by_nobody() -> None:
    assert plan("cpu-demo", "replicas=2", "flags.nccl-port=false").name == "cpu-demo@1"


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("a", ("a", 0)),
        ("a@2", ("a", 2)),
        ("/x/a.toml@12", ("/x/a.toml", 12)),
        ("a@0", ("a@0", 0)),
        ("a@b", ("a@b", 0)),
        ("@1", ("@1", 0)),
        ("./a@1.toml", ("./a@1.toml", 0)),
    ],
)
def test_a_replica_is_what_ends_in_its_number(word: str, parts: tuple[str, int]) -> None:
    assert split(word) == parts


@pytest.mark.parametrize(("gpus", "fits"), [(4, False), (7, False), (8, True)])
def test_a_profile_of_two_servers_fits_where_both_do(gpus: int, fits: bool, tmp_path: Path) -> None:
    folder = tmp_path / ".config/glm5-serve/profiles"
    folder.mkdir(parents=True)
    (folder / "two.toml").write_text('extends = "4xb200"\nreplicas = 2\n')
    b200 = Gpu(
        0, name=known("NVIDIA B200"), capability=known("10.0"), memory_total=known(183359 << 20)
    )
    seen = Driver(gpus=known((b200,) * gpus))
    listed = {row.name: row for row in rows(seen, {"HOME": str(tmp_path)})}

    assert listed["two"].needs.startswith("2 times 4x B200")
    assert listed["two"].fits is fits
    assert listed["4xb200"].fits
    assert listed["4xb200"].needs.startswith("4x B200")
