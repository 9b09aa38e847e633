"""A checkpoint fetched from a stand-in of the hub, and judged: whole, what it claims, and as the
hub has it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import World
from rig.hub import COMMIT, Hub, serving
from rig.safetensors import tensor_file

from launcher.errors import UserError
from launcher.operate.download import Wanted, require_within

REPOSITORY = "org/glm-5-nvfp4"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A small whole checkpoint that says NVFP4 and is."""
    tensor_file(tmp_path / "weights", {"model.layers.0.w": 3 << 20})
    config = {
        "model_type": "glm_moe_dsa",
        "architectures": ["GlmMoeDsaForCausalLM"],
        "num_hidden_layers": 78,
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": (tmp_path / "weights").read_bytes(),
    }
    with serving(Hub(REPOSITORY, files)) as made:
        yield made


@pytest.fixture
def fetch(world: World, hub: Hub) -> Any:
    def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        there = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return world.run("fetch", *(words or (REPOSITORY,)), **there, **environ)

    return run


def model(world: World, folder: Path, *words: str) -> dict[str, Any]:
    said = world.run("model", str(folder), "--json", *words)
    assert "Traceback" not in said.stderr
    told: dict[str, Any] = json.loads(said.stdout)
    return told


def findings(told: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["severity"] for one in told["findings"]}


def test_a_checkpoint_is_fetched_into_the_cache_and_pinned(world: World, fetch: Any) -> None:
    said = fetch(REPOSITORY, "--json")
    told = json.loads(said.stdout)

    assert said.returncode == 0, said.stderr
    assert (told["commit"], told["files"]) == (COMMIT, 3)
    assert Path(told["folder"]).name == COMMIT
    judged = findings(model(world, Path(told["folder"]), "--hash"))
    assert judged["model-hashes"] == "ok"
    assert set(judged.values()) == {"ok"}


def test_what_is_there_is_not_fetched_again(fetch: Any, hub: Hub) -> None:
    fetch()
    hub.asked.clear()

    assert fetch().returncode == 0
    assert hub.asked == []


def test_a_connection_that_breaks_goes_on_where_it_was(fetch: Any, hub: Hub, world: World) -> None:
    tensor_file(world.folder / "weights", {"model.layers.0.w": 32 << 20})
    hub.files["model.safetensors"] = (world.folder / "weights").read_bytes()
    hub.cut_after = 25 << 20
    said = fetch(REPOSITORY, "--to", "here")

    assert said.returncode == 0, said.stderr
    assert any(
        begun and begun != "bytes=0-" for name, begun in hub.asked if name == "model.safetensors"
    )
    assert (world.folder / "here/model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_files_that_are_whole_are_kept_by_the_next_run(fetch: Any, hub: Hub, world: World) -> None:
    hub.cut_after = 1 << 20
    cut = fetch(REPOSITORY, "--to", "here")
    hub.cut_after = None
    hub.asked.clear()
    again = fetch(REPOSITORY, "--to", "here")

    assert cut.returncode == 78
    assert "Traceback" not in cut.stderr
    assert again.returncode == 0, again.stderr
    assert [name for name, _ in hub.asked] == ["model.safetensors"]
    assert (world.folder / "here/model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_file_that_is_not_the_hubs_is_named(fetch: Any, world: World) -> None:
    fetch(REPOSITORY, "--to", "here")
    file = world.folder / "here/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)

    assert findings(model(world, world.folder / "here"))["model-headers"] == "ok", (
        "its length and header are right"
    )
    told = model(world, world.folder / "here", "--hash")
    assert findings(told)["model-hashes"] == "fail"
    assert "model.safetensors is not what the hub has" in json.dumps(told)


def test_without_digests_it_is_unknown(world: World, tmp_path: Path) -> None:
    tensor_file(tmp_path / "model.safetensors", {"w": 64})
    (tmp_path / "config.json").write_text("{}")

    assert findings(model(world, tmp_path, "--hash"))["model-hashes"] == "unknown"


def test_a_disk_that_is_too_small_is_told_before(fetch: Any, hub: Hub) -> None:
    hub.claimed = 1 << 50
    said = fetch()

    assert said.returncode == 78
    assert "are to come, and" in said.stderr
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (404, "RepoNotFound", "the hub has no org/glm-5-nvfp4"),
        (403, "GatedRepo", "is gated"),
        (500, "", "the hub says 500"),
    ],
)
def test_what_the_hub_refuses_is_said(
    fetch: Any, hub: Hub, status: int, error: str, says: str
) -> None:
    hub.status, hub.error = status, error
    said = fetch()

    assert said.returncode == 78
    assert says in said.stderr
    assert "Traceback" not in said.stderr


def test_a_revision_that_is_none_and_a_hub_that_is_away(fetch: Any, world: World) -> None:
    none = fetch(REPOSITORY, "--revision", "nowhere")
    away = world.run("fetch", REPOSITORY, HF_ENDPOINT="http://127.0.0.1:9")
    odd = fetch("a/b/c")

    assert [said.returncode for said in (none, away, odd)] == [78, 78, 2]
    assert "no such revision" in none.stderr
    assert "does not answer" in away.stderr
    assert "is not a repository" in odd.stderr


NAMES = (
    "/etc/cron.d/evil",
    "../evil",
    "a/../../evil",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "..\\evil",
    "a\\b",
    "a\0b",
    "a\nb",
    "\x1b]52;c;ZXZpbA==\x07",
    "\u202etxt.exe",
    "\ud800",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for to in (None, tmp_path):
        with pytest.raises(UserError) as refused:
            require_within(Wanted(REPOSITORY, COMMIT, {"config.json": 1, name: 1}), to)
        assert f"the hub names a file {name!r} in {REPOSITORY}" in refused.value.what
        assert refused.value.what.isprintable()


@pytest.mark.parametrize(
    "name", ["sub/deep/x.json", "..config", "a..b/c d.json", "größe.json", "x[1]*?.bin"]
)
def test_an_ordinary_name_is_no_such_thing(tmp_path: Path, name: str) -> None:
    for to in (None, tmp_path):
        require_within(Wanted(REPOSITORY, COMMIT, {name: 1}), to)


@pytest.mark.parametrize("to", [(), ("--to", "here")], ids=["cache", "folder"])
def test_nothing_is_downloaded_for_one_bad_name(
    fetch: Any, hub: Hub, world: World, to: tuple[str, ...]
) -> None:
    before = sorted(world.folder.rglob("*"))
    hub.files["a/../../evil"] = b"evil"
    said = fetch(REPOSITORY, *to)

    assert said.returncode == 78
    assert (
        "the hub names a file 'a/../../evil' in org/glm-5-nvfp4: it leads out of the folder"
        in said.stderr
    )
    assert "nothing was downloaded" in said.stderr
    assert (hub.asked, sorted(world.folder.rglob("*"))) == ([], before)


def test_files_with_odd_but_ordinary_names_are_fetched(fetch: Any, hub: Hub, world: World) -> None:
    hub.files |= {"sub/c d.json": b"1", "größe [1]*.json": b"2", "..config": b"3"}

    assert fetch(REPOSITORY, "--to", "here").returncode == 0
    assert {name: (world.folder / "here" / name).read_bytes() for name in hub.files} == hub.files


@pytest.mark.parametrize("link", ["sub", "sub/x.json", "config.json", ".cache"])
def test_a_link_that_leads_out_of_the_folder_is_refused(
    fetch: Any, hub: Hub, world: World, link: str
) -> None:
    hub.files["sub/x.json"] = b"{}"
    outside, here = world.folder / "outside", world.folder / "here"
    outside.mkdir()
    (outside / "x.json").write_text("mine")
    (here / link).parent.mkdir(parents=True)
    (here / link).symlink_to(outside / "x.json" if link.endswith(".json") else outside)
    said = fetch(REPOSITORY, "--to", "here")

    assert said.returncode == 78
    assert f"here/{link} is a link to {outside}" in said.stderr
    assert (hub.asked, (outside / "x.json").read_text(), len(list(outside.iterdir()))) == (
        [],
        "mine",
        1,
    )


def test_a_folder_that_is_a_link_itself_and_links_within_are_well(
    fetch: Any, hub: Hub, world: World
) -> None:
    (world.folder / "disk/shards").mkdir(parents=True)
    (world.folder / "here").symlink_to(world.folder / "disk")
    (world.folder / "disk/sub").symlink_to("shards")
    hub.files["sub/x.json"] = b"{}"

    assert fetch(REPOSITORY, "--to", "here").returncode == 0
    assert (world.folder / "disk/shards/x.json").read_text() == "{}"


@pytest.mark.parametrize("to", [(), ("--to", "here")], ids=["cache", "folder"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"etag": "../../../../evil"}, "which is not a digest"),
        ({"oid": "../../evil"}, "which is not a digest"),
        ({"commit": "../../../evil"}, "names the commit '../../../evil', which is none"),
    ],
)
def test_what_the_hub_calls_files_by_is_a_digest_or_refused(
    fetch: Any, hub: Hub, world: World, fault: dict[str, str], says: str, to: tuple[str, ...]
) -> None:
    for name, value in fault.items():
        setattr(hub, name, value)
    said = fetch(REPOSITORY, *to)

    assert said.returncode == 78, said.stdout
    assert says in said.stderr
    assert hub.asked == []
    assert not list(world.folder.rglob("*evil*"))


def test_a_hub_that_sends_more_than_it_announced_is_stopped(
    fetch: Any, hub: Hub, world: World
) -> None:
    hub.flood = 2 << 30
    said = fetch(REPOSITORY, "--to", "here")

    assert said.returncode == 78
    assert "the hub sends more than" in said.stderr
    assert hub.poured < 128 << 20, "what the sockets hold comes on top"
    assert (
        sum(path.stat().st_size for path in world.folder.rglob("*") if path.is_file()) < 128 << 20
    )


def test_a_file_that_was_not_named_at_first_is_not_downloaded(
    fetch: Any, hub: Hub, world: World
) -> None:
    hub.unlisted = {"../evil": b"evil", "more.json": b"{}"}
    said = fetch(REPOSITORY, "--to", "here")

    assert said.returncode == 0, said.stderr
    assert not {"../evil", "more.json"} & {name for name, _ in hub.asked}
    assert not (world.folder / "here/more.json").exists()


def test_a_claim_that_the_tensors_do_not_bear_out_is_a_failure(
    world: World, tmp_path: Path
) -> None:
    header = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"1234")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "glm_moe_dsa", "num_hidden_layers": 1})
    )
    (tmp_path / "hf_quant_config.json").write_text(
        '{"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}'
    )
    (tmp_path / "tokenizer.json").write_text("{}")
    told = model(world, tmp_path)

    assert findings(told)["model-claims"] == "fail"
    assert told["model"]["excluded"] == ["lm_head"]
    assert told["model"]["parsers"] == {"sglang": ["glm45", "glm47"], "vllm": ["glm45", "glm47"]}
    assert world.run("model", str(tmp_path)).returncode == 1


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize(
    "index",
    ['{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": []}', "[]", "no JSON"],
)
def test_no_index_makes_a_folder_fine(
    world: World, tmp_path: Path, index: str, weights: bool
) -> None:
    """Without weights nothing is; beside weights an index that names none of them is no use."""
    (tmp_path / "config.json").write_text('{"architectures": ["GlmMoeDsaForCausalLM"]}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    if weights:
        (tmp_path / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    said = world.run("model", tmp_path)

    assert said.returncode == 1, said.stdout
    assert ("has no weight files" in said.stdout) != ("the index is no use" in said.stdout)


def test_a_folder_that_is_not_there_is_said(world: World) -> None:
    said = world.run("model", "/nowhere/at/all")

    assert said.returncode == 1
    assert (said.stdout, len(said.stderr.splitlines())) == ("", 2)
    assert "the model folder /nowhere/at/all is not there" in said.stderr


def test_what_is_known_of_a_published_checkpoint_is_shown(world: World) -> None:
    told = model(world, Path("nvidia/GLM-5.3-NVFP4"))["model"]

    assert (told["family"], told["quantisation"], told["mtp"]) == ("glm-5", "nvfp4-mixed", True)
    assert told["thinking"] == "always"
    assert told["parsers"] == {"sglang": ["glm45", "glm47"], "vllm": ["glm45", "glm47"]}
    assert "do not force --quantization modelopt_fp4" in told["remarks"][0]
    flash = ("4xpro6000-glm53-flash", "--model", "LibertAIDAI/GLM-5.3-Flash-NVFP4")
    shown = world.run("fit", *flash).stdout
    assert "corrupt tokens on SM120" in shown
    assert "--reasoning-parser glm45 --tool-call-parser glm47" in shown


def test_of_a_checkpoint_that_nobody_knows_nothing_is_told(world: World) -> None:
    told = model(world, Path("org/llama"))["model"]

    assert [told[key] for key in ("family", "quantisation", "mtp", "thinking", "parsers")] == [
        None
    ] * 5
