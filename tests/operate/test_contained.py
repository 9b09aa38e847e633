"""`render` for containers: the image, what is assumed, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, TESTS, World

from launcher.config.load import PlanRequest
from launcher.config.target import TargetOptions
from launcher.errors import Exit, UserError
from launcher.operate.contained import Asked, rendered

FACTS = TESTS / "hosts/asus8x.json"
HOME = {"HOME": "/root", "PATH": "/usr/bin:/bin"}
ELSEWHERE = {"gpu": "b200", "arch": "sm100"}  # this host's driver says nothing about another's


def text(
    form: str = "compose",
    profile: str = "8xb200",
    key: str | None = None,
    settings: tuple[str, ...] = (),
    aim: TargetOptions | None = None,
    **asked: Any,
) -> str:
    ask = PlanRequest(profile, settings, key)
    return rendered(ask, HOME, aim or TargetOptions(**ELSEWHERE), form, Asked(**asked)).text


def image(made: str) -> str:
    return str(yaml.safe_load(made)["services"]["server"]["image"])


def with_driver(tmp_path: Path, version: str) -> TargetOptions:
    facts = json.loads(FACTS.read_text())
    facts["driver"]["version"] = version
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    return TargetOptions(facts=tmp_path / "facts.json", release="0.5.19")


@pytest.mark.parametrize(
    ("driver", "tag"), [("580.95.05", "v0.5.19-cu130"), ("570.86.10", "v0.5.19-cu129")]
)
def test_the_driver_of_the_host_decides_over_the_image(
    tmp_path: Path, driver: str, tag: str
) -> None:
    made = text(profile="8xpro6000", aim=with_driver(tmp_path, driver))

    assert image(made) == f"docker.io/lmsysorg/sglang:{tag}"
    assert "assumed" not in made


def test_a_driver_too_old_for_any_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs no image") as told:
        text(profile="8xpro6000", aim=with_driver(tmp_path, "565.57.01"))

    assert told.value.fix == "driver 570 or later"


def test_what_nobody_knows_is_assumed_aloud() -> None:
    assert "# note: assumed: a driver of 580 or later, for CUDA 13" in text()
    assert "assumed" not in text(cuda=13)


def test_an_image_is_pinned_by_its_digest() -> None:
    digest = "sha256:" + 64 * "a"
    assert "# note: the tag may be moved: --digest" in text()
    pinned = text(digest=digest)

    assert image(pinned) == f"docker.io/lmsysorg/sglang:v0.5.23@{digest}"
    assert "may be moved" not in pinned
    assert image(text(image="r.example/x:1", digest=digest)) == f"r.example/x:1@{digest}"
    assert "may be moved" not in text(image=f"r.example/x@{digest}")


def test_a_pod_listens_where_it_is_asked_and_a_container_where_its_plan_says() -> None:
    key = "/etc/glm5/key"
    pod = text("kubernetes", key=key)

    assert "# note: it listens to 0.0.0.0, not to 127.0.0.1" in pod
    assert "- 0.0.0.0\n" in pod
    assert "0.0.0.0" not in text("compose", key=key)
    own = text("kubernetes", key=key, settings=("flags.host=10.0.0.7",))
    assert "- 10.0.0.7\n" in own
    assert "it listens to" not in own


HALVES = ("replicas=2", "flags.tp-size=4")
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no CUDA 12": ({"cuda": 12}, "SGLang 0.5.23 has no image for CUDA 12: CUDA 13 alone", "driver 580 or later or --release 0.5.19 or --image NAME"),
    "a CPU": ({"profile": "cpu-demo"}, "no image of SGLang 0.5.23 is known for a CPU", "--image NAME: one that has it"),
    "an old release": ({"aim": TargetOptions(release="0.5.8", **ELSEWHERE)}, "no image of SGLang 0.5.8 is known", "--image NAME: one that has it"),
    "no image": ({"image": "a b"}, "--image 'a b' is none", "as `docker pull` takes it: registry/name:tag"),
    "an option for an image": ({"image": "--privileged"}, "--image '--privileged' is none", "as `docker pull` takes it: registry/name:tag"),
    "no digest": ({"digest": "sha256:1"}, "--digest 'sha256:1' is none", "sha256: and 64 hexadecimal digits"),
    "two digests": ({"image": "a@sha256:1", "digest": f"sha256:{64 * 'a'}"}, "--image a@sha256:1 has a digest", "leave one of them out"),
    "no container": ({"form": "systemd", "image": "a"}, "--format systemd is no container", "--format docker, compose, quadlet, kubernetes"),
    "models of a host": ({"models": "pvc:x"}, "--models is of --format kubernetes", "leave it out: a folder that the profile names is handed in"),
    "RDMA of a cluster on a host": ({"rdma": "rdma/x"}, "--rdma rdma/x is nothing that compose hands in", "for example --rdma /dev/infiniband"),
    "RDMA of a host in a cluster": ({"form": "kubernetes", "rdma": "/dev/infiniband"}, "--rdma /dev/infiniband is nothing that kubernetes hands in", "for example --rdma rdma/hca_shared_devices_a"),
    "another replica's GPUs": ({"profile": "8xb200@2", "settings": HALVES}, "which GPUs 8xb200@2 would have is unknown", "name those of all replicas: `--set env.CUDA_VISIBLE_DEVICES=0,1,...`"),
    "another replica's GPUs in a unit": ({"form": "systemd", "profile": "8xb200@1", "settings": HALVES}, "which GPUs 8xb200@1 would have is unknown", "name those of all replicas: `--set env.CUDA_VISIBLE_DEVICES=0,1,...`"),
    "a replica in a cluster": ({"form": "kubernetes", "profile": "8xb200@2", "settings": HALVES}, "8xb200@2 is a replica, which shares a host", "-p 8xb200 --set replicas=1; `kubectl scale` makes more of it"),
    "no such claim": ({"form": "kubernetes", "key": "/k", "models": "pvc:A/../b"}, "--models pvc:A/../b: no place", "one of pvc:CLAIM or CLAIM/FOLDER, hostPath:/FOLDER of the nodes, image:REFERENCE, an OCI image"),
    "no folder of the nodes": ({"form": "kubernetes", "key": "/k", "models": "hostPath:models"}, "--models hostPath:models: no place", "one of pvc:CLAIM or CLAIM/FOLDER, hostPath:/FOLDER of the nodes, image:REFERENCE, an OCI image"),
    "no key": ({"form": "kubernetes"}, "without a key SGLang's admin endpoints", "--api-key-file FILE (it becomes a Secret), or access.open_without_key = true"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_what_to_do(case: str) -> None:
    asked, what, fix = REFUSED[case]
    with pytest.raises(UserError) as told:
        text(**asked)

    assert str(told.value).startswith(what)
    assert told.value.fix == fix
    assert told.value.status in (Exit.USAGE, Exit.CONFIG)


OPEN = ("flags.host=0.0.0.0",)


@pytest.mark.parametrize("form", ["docker", "compose", "quadlet", "systemd"])
def test_what_up_would_refuse_is_not_written_for_others_to_start(form: str) -> None:
    with pytest.raises(UserError, match=r"binds 0\.0\.0\.0 without an API key") as told:
        text(form, settings=OPEN)

    assert told.value.status == Exit.CONFIG
    assert "--set flags.host=127.0.0.1" in str(told.value.fix)
    assert text(form, settings=OPEN, key="/etc/glm5/key")
    assert text(form, settings=(*OPEN, "access.open_without_key=true"))


def test_a_node_is_not_told_to_listen_to_itself_alone() -> None:
    with pytest.raises(UserError, match=r"binds 192\.0\.2\.1 without") as told:
        text("quadlet", profile="2x8xpro6000")

    assert "access.api_key_file=/FILE (on each host)" in str(told.value.fix)
    assert "127.0.0.1" not in str(told.value.fix)


def test_vllm_s_key_is_no_guard_of_what_more_than_this_host_reaches() -> None:
    with pytest.raises(UserError, match="with an API key, which does not guard"):
        text("docker", profile="8xb200-vllm", settings=OPEN, key="/etc/glm5/key")


def test_the_command_itself_is_shown_with_a_warning() -> None:
    assert "# note: risky" in text("shell", settings=OPEN)


def test_replicas_have_gpus_of_their_own_and_no_gateway_that_finds_them() -> None:
    every = "env.CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7"
    first = text("quadlet", profile="8xb200@1", settings=(*HALVES, every))
    second = text("quadlet", profile="8xb200@2", settings=(*HALVES, every))

    assert "Environment=CUDA_VISIBLE_DEVICES=0,1,2,3\n" in first
    assert "Environment=CUDA_VISIBLE_DEVICES=4,5,6,7\n" in second
    assert "gateway up --worker http://HOST:8001` adds it" in second
    assert "behind gateway" not in second
    assert "--worker" not in text("quadlet")


def test_a_cluster_is_told_where_the_weights_have_to_lie() -> None:
    def pod(*settings: str, models: str | None = None) -> str:
        return text("kubernetes", key="/etc/glm5/key", settings=settings, models=models)

    assert "each node downloads the model for itself" in pod()
    assert "path: /var/cache/glm5-serve/huggingface\n" in pod()  # nobody's home
    cache = pod(models="pvc:weights/hub")
    assert "claimName: weights\n" in cache
    assert "subPath: hub\n" in cache
    assert "# pvc:weights/hub is the hub's cache, shown at /root/.cache/huggingface" in cache
    folder = pod("flags.model-path=/models/GLM-5", models="pvc:weights")
    assert "# pvc:weights is the model's folder itself" in folder
    assert "subPath" not in folder


@pytest.mark.parametrize("form", ["docker", "compose", "quadlet"])
def test_a_host_has_the_hub_s_cache_before_it_starts(form: str) -> None:
    assert "# before the first start: mkdir -p /root/.cache/huggingface\n" in text(form)
    assert "mkdir" not in text(form, settings=("flags.model-path=/models/GLM-5",))


def test_pods_of_a_group_are_told_nothing_of_hosts() -> None:
    made = text("kubernetes", profile="2x8xpro6000", key="/etc/glm5/key", aim=TargetOptions())

    assert "each is started on its host" not in made
    assert "no interface with" not in made
    assert "--host 192.0.2.1" not in made


def test_a_key_that_others_may_read_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-of-nobody\n")
    key.chmod(0o644)
    assert f"# note: the API key file {key} is open to others" in text(key=str(key))
    key.chmod(0o600)
    assert f"# note: the API key file {key}" not in text(key=str(key))
    assert "# note: cannot read the API key file" in text(key=str(tmp_path / "none"))


def test_an_image_of_ours_is_built_on_the_release_s_own() -> None:
    made = text(supervised=True)

    assert "make dist DISTS=image BASE=docker.io/lmsysorg/sglang:v0.5.23 IMAGE=localhost/" in made
    assert image(made).endswith("-sglang-0.5.23")
    assert image(text(supervised=True, image="r.example/ours:1")) == "r.example/ours:1"


def test_a_pod_is_asked_where_its_profile_says_but_not_of_itself_alone() -> None:
    own = ("access.health_listen=127.0.0.1:9000",)
    made = text("kubernetes", key="/etc/glm5/key", settings=own, supervised=True)

    assert "# note: /ready and /live are at 0.0.0.0, not at 127.0.0.1" in made
    assert "containerPort: 9000" in made
    assert 'health_listen="0.0.0.0:9000"' in made


def test_open_on_purpose_is_open() -> None:
    made = text("kubernetes", settings=("access.open_without_key=true",))

    assert "secret" not in made


def test_the_command_line_says_it_all(world: World) -> None:
    words = "render -p 8xb200-vllm --gpu b200 --format quadlet --rdma /dev/infiniband".split()
    said = world.run(*words, "--release", "0.32.0", "--cuda", "12")

    assert said.returncode == 0, said.stderr
    assert "Image=docker.io/vllm/vllm-openai:v0.32.0-cu129\n" in said.stdout
    assert "AddDevice=/dev/infiniband\n" in said.stdout
    refused = world.run(*words[:3], "--image", "x")
    assert refused.returncode == Exit.USAGE
    assert "--format shell is no container" in refused.stderr


def test_the_page_s_commands_run(world: World) -> None:
    page = (ROOT / "docs/containers.md").read_text()
    given = re.search(r'^P="(.*)"$', page, re.MULTILINE)
    lines = re.findall(r"^glm5-serve (render .*?)(?: [>&|#].*)?$", page, re.MULTILINE)
    assert given
    assert len(lines) == 5

    for line in lines:
        said = world.run(*line.replace("$P", given[1]).split())
        assert said.returncode == 0, said.stderr
