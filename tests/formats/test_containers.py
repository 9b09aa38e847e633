"""What `render` writes for containers: what real readers make of it, what lint says of it, and who
sees the key.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils as validator
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats import alone
from launcher.formats import supervised as own
from launcher.formats.spec import KEY, RUN, Wish
from launcher.formats.writers import CONTAINERS, WRITERS
from launcher.lint.run import judge
from launcher.plan.plan import Plan, for_node
from launcher.plan.policy import Policy

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.toml"))
WISH = Wish("docker.io/lmsysorg/sglang:v0.5.23")
VLLM = Wish("docker.io/vllm/vllm-openai:v0.33.0")
KEY_FILE = "/etc/glm5/key"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some ten times as fast, where it is built


@cache
def planned(name: str, *settings: str, key: str | None = KEY_FILE, release: str = "") -> Plan:
    ask = PlanRequest(name, settings, key)
    composed = load(ask, {"HOME": "/root"})
    newest = dialect(composed.profile.engine.kind).options.newest
    target = Target(release or newest, engine=composed.profile.engine.kind)
    return resolve(composed, ask, Path(RUN), {}, target)


PLAN, VLLM_PLAN = planned("8xpro6000"), planned("8xpro6000-vllm")


def written(plan: Plan, form: str, **wishes: str) -> str:
    wish = VLLM if plan.engine == "vllm" else WISH
    return CONTAINERS[form](alone.spec(plan, replace(wish, **wishes)))


def supervised(plan: Plan, form: str) -> str:
    return CONTAINERS[form](own.spec(plan, WISH, PACKAGED))


def objects(text: str) -> dict[str, dict[str, Any]]:
    return {made["kind"]: made for made in yaml.load_all(text, LOADER)}


def container(text: str) -> dict[str, Any]:
    pod = objects(text)["Deployment"]["spec"]["template"]["spec"]
    return dict(pod["containers"][0])


# -- lint ------------------------------------------------------------------------------------------


def said(text: str, plan: Plan) -> set[tuple[str, str]]:
    target = Target(plan.release, plan.arch, plan.gpu, engine=plan.engine)
    return {
        (entry.name, concern.why)
        for judged in judge(text, target).launches
        for entries in judged.releases.values()
        for entry in entries
        for concern in entry.concerns
    }


@pytest.mark.parametrize("name", PROFILES)
def test_a_container_adds_nothing_that_lint_has_a_word_about(name: str) -> None:
    """Whatever its form, beside what is said of the shell's."""
    plan = planned(name, "flags.host=0.0.0.0")

    shell = said(WRITERS["shell"](plan), plan)
    for form in CONTAINERS:
        told = said(written(plan, form), plan)
        # where each pod listens is its own affair: the words of a group are those of several nodes
        assert {what for what in told if not plan.nodes or "host" not in what[0]} <= shell, form


# -- the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["8xpro6000", "8xpro6000-vllm"])
def test_the_key_is_read_inside_and_is_in_no_argument(name: str, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text(" sk-of-a-test\n")
    spec = alone.spec(planned(name), WISH)
    file = tmp_path / "run/config.yaml"
    shown = "import os, sys; print(sys.argv[1:], os.environ.get('VLLM_API_KEY'))"
    script, _, *words = (
        word.replace(KEY, str(tmp_path / "api-key")).replace(RUN, str(file.parent))
        for word in spec.command[1:]
    )
    words[:2] = ["python3", "-c", shown]
    ran = subprocess.run(
        [*spec.entry, "-c", script, "glm5-serve", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    if name.endswith("vllm"):
        assert ran.stdout.endswith("] sk-of-a-test\n")
    else:
        assert file.read_text() == 'api-key: "sk-of-a-test"\n'
        assert file.stat().st_mode & 0o777 == 0o600
        assert "sk-of-a-test" not in ran.stdout


@pytest.mark.parametrize("key", ["", "\n", " \t\n", "two words", "two\nlines", 'q"uote', "*"])
@pytest.mark.parametrize("name", ["8xpro6000", "8xpro6000-vllm"])
def test_without_its_key_a_server_does_not_start(name: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text(key)
    spec = alone.spec(planned(name), WISH)
    script = spec.command[1].replace(KEY, str(tmp_path / "api-key")).replace(RUN, str(tmp_path))
    words = [*spec.entry, "-c", script, "glm5-serve", "echo", "started"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stdout) == (78, "")
    assert "wanted the API key alone" in ran.stderr


def test_a_wrapper_that_exports_no_key_guards_nothing() -> None:
    plan = planned("8xpro6000-vllm", "flags.host=0.0.0.0")
    text = written(plan, "compose").replace(" && export VLLM_API_KEY", "")

    assert any("without a key" in why for _, why in said(text, plan))


# -- Docker, compose and podman --------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_shell_gives_docker_the_words_of_the_plan(words: list[str]) -> None:
    plan = replace(VLLM_PLAN, arguments=(*VLLM_PLAN.arguments, *words))
    script = written(plan, "docker").replace("docker run", "printf '%s\\0'", 1)
    ran = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60, check=True)
    got = ran.stdout.decode().split("\0")[:-1]

    assert tuple(got[-len(plan.arguments) :]) == plan.arguments
    assert got[got.index(VLLM.image) - 1] == "/bin/sh"


@settings(max_examples=30)
@given(st.integers(0, 100_000), st.integers(1, 100_000))
def test_whoever_stops_it_waits_for_the_drain_and_whoever_starts_it_for_the_load(
    drain: int, start: int
) -> None:
    plan = replace(PLAN, policy=Policy(start_timeout=start, stop_timeout=drain))
    service = yaml.load(written(plan, "compose"), LOADER)["services"]["server"]
    unit = written(plan, "quadlet").splitlines()
    told = dict(line.split("=", 1) for line in unit if "=" in line and line[:1].isupper())
    words = shlex.split(written(plan, "docker"), comments=True)
    pod = objects(written(plan, "kubernetes"))["Deployment"]["spec"]
    template = pod["template"]["spec"]
    startup = template["containers"][0]["startupProbe"]

    assert int(words[words.index("--stop-timeout") + 1]) >= drain + 60
    assert int(service["stop_grace_period"][:-1]) >= drain + 60
    assert int(told["TimeoutStopSec"]) > int(told["StopTimeout"]) >= drain + 60
    assert template["terminationGracePeriodSeconds"] == 15 + drain + 90
    assert startup["periodSeconds"] * startup["failureThreshold"] >= start
    assert pod["progressDeadlineSeconds"] > start + pod["minReadySeconds"]
    assert int(told["TimeoutStartSec"]) > start


def test_restarts_have_one_owner_and_an_end_where_one_can_be_told() -> None:
    service = yaml.safe_load(written(planned("8xpro6000"), "compose"))["services"]["server"]
    unit = written(planned("8xpro6000"), "quadlet")
    vllm = yaml.safe_load(written(planned("8xpro6000-vllm"), "compose"))["services"]["server"]

    assert service["restart"] == "on-failure:5"
    assert "StartLimitBurst=5" in unit and "Restart=on-failure" in unit  # noqa: PT018
    # it ends with status 0 when it dies of an exception
    assert vllm["restart"] == "unless-stopped"
    assert "Restart=always" in written(planned("8xpro6000-vllm"), "quadlet")


def test_the_model_is_read_only_and_kernels_are_kept() -> None:
    plan = planned("8xpro6000", "flags.model-path=/models/GLM-5", "flags.chat-template=/t/x.jinja")
    volumes = yaml.safe_load(written(plan, "compose"))["services"]["server"]["volumes"]
    unit = written(plan, "quadlet")
    mounts = container(written(plan, "kubernetes"))["volumeMounts"]

    read_only = {one["source"] for one in volumes if one.get("read_only")}
    assert read_only == {"/models/GLM-5", "/t/x.jinja"}
    assert "Volume=/models/GLM-5:/models/GLM-5:ro" in unit
    assert {one["mountPath"] for one in mounts if one.get("readOnly")} >= read_only
    assert "Volume=glm5-8xpro6000-cache:/root/.cache\n" in unit
    assert "/root/.cache" in {one["mountPath"] for one in mounts if not one.get("readOnly")}


def test_a_place_that_is_written_to_is_told_and_not_shown() -> None:
    text = written(planned("8xpro6000", "flags.crash-dump-folder=/var/dumps"), "compose")

    assert "# --crash-dump-folder /var/dumps is inside the container" in text
    volumes = yaml.safe_load(text)["services"]["server"]["volumes"]
    assert "/var/dumps" not in {one["source"] for one in volumes}


def test_a_path_that_would_be_read_as_another_is_refused() -> None:
    for path in ("/models/a:b", "/models/a,b", "/models/$X", "/models/%h"):
        with pytest.raises(UserError, match="cannot be shown to a container"):
            alone.spec(planned("8xpro6000", f"flags.model-path={path}"), WISH)


def test_gpus_that_a_plan_chooses_are_chosen_among_all() -> None:
    plan = planned("4xpro6000", "env.CUDA_VISIBLE_DEVICES=4,5,6,7")
    words = shlex.split(written(plan, "docker"), comments=True)

    assert words[words.index("--gpus") + 1] == "all"
    assert "AddDevice=nvidia.com/gpu=all" in written(plan, "quadlet")
    with pytest.raises(UserError, match="a cluster does that itself"):
        written(plan, "kubernetes")


def test_without_gpus_none_is_asked_for() -> None:
    for form in CONTAINERS:
        assert "nvidia.com" not in written(planned("cpu-demo"), form)
        assert "--gpus" not in written(planned("cpu-demo"), form)


@pytest.mark.parametrize(
    ("name", "release", "ready"),
    [
        ("8xpro6000", "0.5.23", "/ready"),
        ("8xpro6000", "0.5.20", "/ready"),
        ("8xpro6000", "0.5.19", "/health"),
        ("8xpro6000-vllm", "0.33.0", "/health"),
    ],
)
def test_probes_ask_what_the_release_answers(name: str, release: str, ready: str) -> None:
    plan = planned(name, release=release)
    text = written(plan, "kubernetes")
    probes = container(text)
    alive = probes["livenessProbe"]

    assert probes["startupProbe"]["httpGet"]["path"] == ready
    assert probes["readinessProbe"]["httpGet"]["path"] == ready
    assert (alive["httpGet"]["path"], alive["timeoutSeconds"]) == ("/health", 25)
    assert ("has no /ready: /health alone" in text) is (ready == "/health")
    assert f"http://127.0.0.1:{plan.port}{ready}" in written(plan, "quadlet")


# -- Kubernetes ------------------------------------------------------------------------------------

KUBERNETES = ("1.31.0", "1.34.0", "1.37.0")
WISHES = [
    {},
    {"rdma": "rdma/hca_shared_devices_a", "models": "pvc:glm5-models"},
    {"models": "hostPath:/data/models"},
    {"models": "image:registry.example/glm-5:1"},
]


def plans() -> Iterator[Plan]:
    for name in ("8xpro6000", "8xb200-vllm", "4xb300-glm53-flash", "cpu-demo"):
        yield planned(name, "flags.host=0.0.0.0")
        yield planned(name, key=None)
        role = "model" if name.endswith("-vllm") else "model-path"
        yield planned(name, f"flags.{role}=/models/GLM-5")


@pytest.fixture(scope="module")
def schemas_read_once() -> Iterator[None]:
    """The validator reads megabytes of JSON for each object else."""
    with pytest.MonkeyPatch.context() as patch:
        read = validator.schema_contents
        patch.setattr(validator, "schema_contents", lru_cache(maxsize=None)(read))
        yield


@pytest.mark.usefixtures("schemas_read_once")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_kubernetes_knows_every_field(version: str, wish: dict[str, str]) -> None:
    for plan in plans():
        if wish.get("models", "").startswith("image:") and not plan.model.startswith("/"):
            continue
        for made in objects(written(plan, "kubernetes", **wish)).values():
            kubernetes_validate.validate(made, version, strict=True)


@pytest.mark.usefixtures("schemas_read_once")
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field_of_a_supervised_one(version: str) -> None:
    for plan in plans():
        for made in objects(supervised(plan, "kubernetes")).values():
            kubernetes_validate.validate(made, version, strict=True)


def test_a_service_and_its_kin_select_the_pods_and_nobody_else() -> None:
    made = objects(written(planned("8xb200"), "kubernetes"))
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]

    assert made["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert made["Service"]["spec"]["selector"] == labels
    assert made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    other = objects(written(planned("8xb200-mtp"), "kubernetes"))
    assert other["Service"]["spec"]["selector"] != labels


def test_nodes_are_chosen_by_the_product_that_a_plan_is_for() -> None:
    pod = objects(written(planned("8xpro6000"), "kubernetes"))["Deployment"]["spec"]["template"]
    [term] = pod["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    [wanted] = term["matchExpressions"]

    assert wanted["key"] == "nvidia.com/gpu.product"
    assert "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition" in wanted["values"]
    unknown = written(replace(planned("8xpro6000"), gpu=None), "kubernetes")
    assert "nodeAffinity" not in unknown
    assert "# no product of GPU is known for this plan" in unknown


def test_weights_come_from_where_they_are_said_to_be() -> None:
    plan = planned("8xb200", "flags.model-path=/models/GLM-5")

    def source(models: str) -> dict[str, Any]:
        pod = objects(written(plan, "kubernetes", models=models))["Deployment"]["spec"]["template"]
        return next(one for one in pod["spec"]["volumes"] if one["name"] == "model")

    assert source("")["hostPath"] == {"path": "/models/GLM-5", "type": "Directory"}
    assert source("pvc:x")["persistentVolumeClaim"] == {"claimName": "x", "readOnly": True}
    assert source("image:r/x:1")["image"]["reference"] == "r/x:1"
    for models in ("nfs:x", "pvc:", "x"):
        with pytest.raises(UserError, match="no place that is known"):
            source(models)
    with pytest.raises(UserError, match="a hub's id"):
        written(planned("8xb200"), "kubernetes", models="image:r/x:1")


@pytest.mark.parametrize("name", ["8xB200", "a_b.c", "x" * 80, "8x-", "_"])
def test_names_are_fit_for_objects(name: str) -> None:
    made = objects(written(replace(planned("8xb200"), name=name), "kubernetes"))
    for one in made.values():
        label = one["metadata"]["name"]
        assert len(label) <= 53
        assert label.replace("-", "").isalnum()
        assert label == label.lower().strip("-")


# -- several nodes ---------------------------------------------------------------------------------

LWS = json.loads((ROOT / "tests/data/leaderworkerset.json").read_text())["schema"]
TWO_HOSTS = 'nodes.hosts=["192.0.2.1", "192.0.2.2"]'
NODES = {
    "own network": (),
    "an interface": ("nodes.interface=bond0",),
    "three": ('nodes.hosts=["192.0.2.1", "192.0.2.2", "192.0.2.3"]', "flags.pp-size=3"),
}


def nodes(name: str, *settings: str) -> Plan:
    return planned(name, "flags.port=8123", *settings)


def templates(made: dict[str, Any]) -> list[dict[str, Any]]:
    group = made["spec"]["leaderWorkerTemplate"]
    return [group["leaderTemplate"]["spec"], group["workerTemplate"]["spec"]]


@pytest.mark.parametrize("case", NODES)
@pytest.mark.parametrize("name", ["2x8xb200", "2x8xpro6000"])
def test_a_group_is_known_to_its_api_and_its_pods_to_kubernetes(name: str, case: str) -> None:
    plan = nodes(name, *NODES[case])
    text = written(plan, "kubernetes", rdma="rdma/x" if plan.nodes[0].interface else "")
    made = objects(text)
    group = made.pop("LeaderWorkerSet")

    jsonschema.validate(group, LWS)
    for pod in templates(group):
        made[str(len(made))] = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": pod}
    for one in made.values():
        kubernetes_validate.validate(one, KUBERNETES[-1], strict=True)
    assert "Deployment" not in made
    assert "# it wants the LeaderWorkerSet controller" in text


def test_rdma_of_a_group_wants_the_interface_between_its_nodes() -> None:
    with pytest.raises(UserError, match="in the network of the nodes") as told:
        written(nodes("2x8xb200"), "kubernetes", rdma="rdma/x")

    assert told.value.fix == "--set nodes.interface=NAME: the one between the nodes, on all of them"


def test_an_api_that_does_not_know_a_field_says_so() -> None:
    made = objects(written(nodes("2x8xb200"), "kubernetes"))["LeaderWorkerSet"]
    made["spec"]["leaderWorkerTemplate"]["sizes"] = 2
    with pytest.raises(jsonschema.ValidationError, match="sizes"):
        jsonschema.validate(made, LWS)


@pytest.mark.parametrize("case", NODES)
@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_each_node_gets_its_words_with_the_addresses_of_pods(kind: str, case: str) -> None:
    plan = of_engine(kind, *NODES[case])
    pods = templates(objects(written(plan, "kubernetes"))["LeaderWorkerSet"])
    first = plan.nodes[0].address

    for rank, pod in enumerate(pods):
        own = for_node(plan, rank)
        args = pod["containers"][0]["args"]
        told = [*map(str, own.arguments)]
        for option, value in (("--node-rank", "$(LWS_WORKER_INDEX)"), ("--host", "0.0.0.0")):
            told[told.index(option) + 1] = value
        told = [word.replace(first, "$(LWS_LEADER_ADDRESS)") for word in told]
        assert args[-len(told) :] == told
        env = {one["name"]: one for one in pod["containers"][0]["env"]}
        address = "SGLANG_HOST_IP" if kind == "sglang" else "VLLM_HOST_IP"
        assert env[address]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
        assert (env.get("GLOO_SOCKET_IFNAME") is not None) is (case == "an interface")
        assert pod.get("hostNetwork", False) is (case == "an interface")
        assert "192.0.2." not in str(pod)


def of_engine(kind: str, *settings: str) -> Plan:
    if kind == "sglang":
        return nodes("2x8xb200", *settings)
    hosts = () if any("hosts" in one for one in settings) else (TWO_HOSTS,)
    told = [one.replace("pp-size", "pipeline-parallel-size") for one in settings]
    return nodes("8xb200-vllm", *hosts, "flags.host=false", *told)


def test_only_the_node_that_answers_is_asked_and_served() -> None:
    made = objects(written(nodes("2x8xb200"), "kubernetes"))
    leader, worker = (pod["containers"][0] for pod in templates(made["LeaderWorkerSet"]))

    assert {"startupProbe", "readinessProbe", "livenessProbe", "ports"} <= {*leader}
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & {*worker}
    assert made["Service"]["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    # with LeaderReady the others would never be started
    assert made["LeaderWorkerSet"]["spec"]["startupPolicy"] == "LeaderCreated"
    assert made["NetworkPolicy"]["spec"]["ingress"][1]["from"]


def test_a_follower_of_hosts_has_no_health_and_no_cluster() -> None:
    follower = for_node(nodes("2x8xb200"), 1)
    for form in ("docker", "compose", "quadlet"):
        text = written(follower, form)
        assert "health" not in text.lower().replace("supervised", "")
        assert "# it follows 192.0.2.1, which answers for all" in text
    with pytest.raises(UserError, match="--node-rank names a follower"):
        written(follower, "kubernetes")


# -- supervised ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", CONTAINERS)
@pytest.mark.parametrize("name", ["8xpro6000", "8xb200-vllm", "cpu-demo"])
def test_what_up_is_told_inside_is_the_same_plan(name: str, form: str) -> None:
    plan = planned(name, "flags.served-model-name=a b $HOME", "engine.python=/opt/x/bin/python")
    words = told(supervised(plan, form), form)
    assert words[:3] == ["up", "--profile", plan.name]
    given = dict(zip(words[1::2], words[2::2], strict=True))
    settings = tuple(
        value for name, value in zip(words[1::2], words[2::2], strict=True) if name == "--set"
    )
    again = planned(name, *settings, key=given["--api-key-file"])

    assert given["--api-key-file"] == KEY
    assert given["--health-listen"] == f"127.0.0.1:{plan.port + 1}"
    assert (again.arguments, again.env) == (plan.arguments, plan.env)
    assert again.python == "python3"


def told(text: str, form: str) -> list[str]:
    match form:
        case "docker":
            words = shlex.split(text.replace(" \\\n", ""), comments=True)
        case "compose":
            listed = yaml.safe_load(text)["services"]["server"]["command"]
            words = [word.replace("$$", "$") for word in listed]
        case "quadlet":
            [line] = [
                line for line in text.replace(" \\\n", "").splitlines() if line[:5] == "Exec="
            ]
            words = [word.replace("$$", "$") for word in shlex.split(line[5:])]
        case _:
            words = [word.replace("$$", "$") for word in container(text)["args"]]
    return words[words.index("up") :]


@pytest.mark.parametrize("case", NODES)
@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_a_supervised_group_is_known_to_its_api_and_its_launchers_are_asked(
    kind: str, case: str
) -> None:
    plan = of_engine(kind, *NODES[case])
    made = objects(supervised(plan, "kubernetes"))
    jsonschema.validate(made["LeaderWorkerSet"], LWS)
    one, other = templates(made["LeaderWorkerSet"])

    for pod in (one, other):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": pod}
        kubernetes_validate.validate(whole, KUBERNETES[-1], strict=True)
        [asked] = pod["containers"]
        assert asked["livenessProbe"]["httpGet"] == {"path": "/live", "port": "health"}
        # the others may still pull their image
        startup = asked["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 2400
        assert pod.get("hostNetwork", False) is (case == "an interface")
    assert one == other
    assert "Deployment" not in made


GETENT = """#!/bin/sh
echo "$2" >> {folder}/asked
case "$2" in
  {leader}) echo "10.9.0.1   $2" ;;
  {leader_at}-1.{domain}) [ -e {folder}/late ] && echo "10.9.0.2  $2 x" || {{ touch {folder}/late; exit 2; }} ;;
  *) exit 2 ;;
esac
"""


def test_a_launcher_in_a_group_is_told_the_addresses_of_its_pods(tmp_path: Path) -> None:
    """What a pod runs is run, with a name service that knows the second pod late."""
    plan = nodes("2x8xb200", "flags.served-model-name=a b $HOME")
    pod = templates(objects(supervised(plan, "kubernetes"))["LeaderWorkerSet"])[1]
    [runs] = pod["containers"]
    words = [word.replace("$$", "$") for word in (*runs["command"], *runs["args"])]
    words[words.index("/opt/glm5-serve/bin/glm5-serve")] = "printf"
    words.insert(words.index("printf") + 1, "%s\\0")
    leader = "glm5-2x8xb200-0.glm5-2x8xb200.inference"
    leader_at, _, domain = leader.partition(".")
    told = GETENT.format(folder=tmp_path, leader=leader, leader_at=leader_at, domain=domain)
    for name, text in (("getent", told), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environ = {"LWS_LEADER_ADDRESS": leader, "LWS_GROUP_SIZE": "2", "LWS_WORKER_INDEX": "1"}
    ran = subprocess.run(
        words, env=environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    given = ran.stdout.split("\0")[:-1]

    assert given[:3] == ["up", "--profile", "2x8xb200"]
    assert given[-4:] == ["--node-rank", "1", "--set", 'nodes.hosts=["10.9.0.1", "10.9.0.2"]']
    assert ran.stderr == f"no address of {leader_at}-1.{domain} yet\n"
    settings = [value for name, value in pairwise(given) if name == "--set"]
    again = planned("2x8xb200", *settings, "nodes.rank=1", key=KEY)
    assert [node.address for node in again.nodes] == ["10.9.0.1", "10.9.0.2"]
    assert (again.follows, again.model_name) == (True, "a b $HOME")


def test_a_follower_by_itself_is_no_supervised_group() -> None:
    with pytest.raises(UserError, match="--node-rank names a follower"):
        supervised(for_node(nodes("2x8xb200"), 1), "kubernetes")


@pytest.mark.parametrize("form", CONTAINERS)
def test_lint_tells_where_the_words_of_a_supervised_one_are(form: str) -> None:
    with pytest.raises(UserError, match="starts `glm5-serve up`") as raised:
        judge(supervised(planned("8xpro6000"), form), Target())

    assert raised.value.fix == "`glm5-serve render --profile NAME | glm5-serve lint -`"
    for other in ("glm5-serve down", "# glm5-serve: it\nkeeps up\n", "my-glm5-server up"):
        with pytest.raises(UserError, match="no launch of SGLang or vLLM"):
            judge(other, Target())


def test_the_launcher_is_the_first_process_and_alone_restarts() -> None:
    plan = planned("8xpro6000")
    service = yaml.safe_load(supervised(plan, "compose"))["services"]["server"]
    unit = supervised(plan, "quadlet")
    probes = container(supervised(plan, "kubernetes"))

    assert (service["restart"], service["init"]) == ("no", False)
    assert "Restart=no" in unit
    assert "--init" not in supervised(plan, "docker")
    # it is alive while its server loads: nothing may kill it for that
    assert probes["livenessProbe"]["httpGet"] == {"path": "/live", "port": "health"}
    assert probes["startupProbe"]["httpGet"]["path"] == "/live"
    assert probes["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "health"}


def test_a_profile_that_no_image_has_is_shown_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "8xb200"\n')
    mine = supervised(planned(str(tmp_path / "mine.toml")), "quadlet")

    assert f"Volume={tmp_path}:/etc/glm5-serve/profiles:ro" in mine
    assert "Exec=up \\\n  --profile mine" in mine
    assert "/etc/glm5-serve" not in supervised(planned("8xb200"), "quadlet")


def test_two_addresses_of_one_launcher_are_two() -> None:
    for setting, listens in (
        ("flags.port=65535", "127.0.0.1:65534"),
        ("flags.host=::1", "[::1]:8001"),
        ("flags.host=0.0.0.0", "0.0.0.0:8001"),
    ):
        assert listens in told(supervised(planned("8xb200", setting), "docker"), "docker")
    own_place = planned("8xb200", "access.health_listen=127.0.0.1:9000")
    assert "--health-listen" not in supervised(own_place, "docker")
    assert "http://127.0.0.1:9000/ready" in supervised(own_place, "docker")
