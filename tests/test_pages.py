"""README.md and docs/: what is made from code is what the code says, links lead somewhere, and the
commands run.
"""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from conftest import ROOT, TESTS, World, warm
from rig.pages import PAGES, SITE, Block, blocks

from launcher.cli import cli
from launcher.operate import init

# What a test does not have; of `server` it has the stand-in.
NEEDS = set("gpu network root uv hosts podman promtool cluster terminal server".split())
ELSEWHERE = {ROOT / "docs/maintain.md", ROOT / "docs/vllm.md"}  # pages with a test of their own


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("script", ["commands_page", "profile_page"])
def test_a_page_that_is_made_is_what_the_code_says(script: str) -> None:
    made = runpy.run_path(str(ROOT / f"scripts/{script}.py"))

    assert made["PAGE"].read_text() == made["page"](), f"scripts/{script}.py writes it anew"


def test_the_readme_is_read_in_one_go() -> None:
    assert len(PAGES[ROOT / "README.md"].splitlines()) < 150


def test_every_page_is_in_the_navigation_and_the_other_way() -> None:
    def leaves(nav: Any) -> Iterator[str]:
        for one in nav if isinstance(nav, list) else nav.values():
            if isinstance(one, str):
                yield one
            else:
                yield from leaves(one)

    told = [*leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])]

    # a decision is reached from their list
    assert sorted(told) == sorted({name(path) for path in PAGES if path.name[0] != "0"})


def slug(heading: str) -> str:
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    without = SITE["FENCE"].sub("", text)
    return {slug(found[1]) for found in re.finditer(r"^#+ (.+)$", without, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    for link in SITE["links"](PAGES[page]):
        to = SITE["target"](page, link)
        assert to.is_file(), link
        _, _, anchor = link.partition("#")
        assert not anchor or anchor in anchors(PAGES[to]), link


def test_a_site_is_laid_out_with_all_that_it_links_to(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/old").write_text("gone")
    SITE["lay"](tmp_path / "site")

    laid = {path.relative_to(tmp_path / "site").as_posix() for path in tmp_path.rglob("*.*")}
    assert {
        "README.md",
        "docs/faq.md",
        "docs/screens/start-80-dark.svg",
        "monitoring/alerts.yml",
    } <= laid
    assert not (tmp_path / "site/old").exists()


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("<a href='other.html'>", False),
        ("<a href='other.html#here'>", False),
        ("<a href='#top'>", False),
        ("<a href='folder/'>", False),
        ("<a href='https://example.org/x'>", False),
        ("<img src='data:image/png;base64,AA'>", False),
        ("<a href='gone.html'>", True),
        ("<a href='other.html#gone'>", True),
        ("<img src='gone.png'>", True),
        ("<script src='https://example.org/x.js'></script>", True),
    ],
)
def test_dead_links_of_a_built_site_are_found(tmp_path: Path, link: str, is_dead: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/index.html").write_text("")
    (tmp_path / "other.html").write_text("<h1 id='here'>")
    (tmp_path / "index.html").write_text(f"<p id='top'>{link}")

    assert [line.split(":")[0] for line in SITE["dead"](tmp_path)] == ["index.html"] * is_dead


def test_each_alert_leads_to_what_it_wants() -> None:
    """By a name that no other program's alert has: a Prometheus has those of many."""
    (group,) = yaml.safe_load((ROOT / "monitoring/alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert rule["alert"].startswith("Glm5Serve")
        assert page == "docs/monitoring.md"
        assert anchor == slug(rule["alert"])
        assert anchor in anchors(PAGES[ROOT / page])


BLOCKS = [block for page in PAGES if page not in ELSEWHERE for block in blocks(page)]
# A recorded host stands in for this one, where a command of a page names no other.
WRAPPER = """\
#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
other = {{"--facts", "--gpu", "--from", "--release", "--hosts"}}
if words[:1] and words[0] in ("doctor", "fit", "render", "diff") and not other & {{*words}}:
    words += ["--facts", "host.json"]
if words == ["facts"]:
    words += ["--from", "pasted"]
told, tells = os.pipe()
asked = json.dumps([words, dict(os.environ), os.getcwd()]).encode()
socket.send_fds(socket.socket(fileno={end}), [asked], [0, 1, 2, tells])
os.close(tells)
with open(told) as ended:
    sys.exit(int(ended.read().split()[1]))
"""
IMAGE = "lmsysorg/sglang:v0.5.23"
LAUNCH = "python3 -m sglang.launch_server --model-path /models/GLM-5-NVFP4 --tp 8 --port 30000"
FILES = {
    "run.sh": f"docker run --gpus all -p 30000:30000 -v /models:/models {IMAGE} {LAUNCH}\n",
    "compose.yaml": yaml.safe_dump({"services": {"glm5": {"image": IMAGE, "command": LAUNCH}}}),
    "pod.yaml": yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "glm5"},
            "spec": {"containers": [{"name": "glm5", "image": IMAGE, "command": LAUNCH.split()}]},
        }
    ),
    "alerts.yml": (ROOT / "monitoring/alerts.yml").read_text(),
    "card.sh": (TESTS / "golden/card-0.5.23.sh").read_text(),
    "host.json": (TESTS / "hosts/asus8x.json").read_text(),
    "server.log": (TESTS / "diagnose/cases/06-nccl-heartbeat-monitor.log").read_text(),
    "kernel.log": (TESTS / "hosts/xid/dmesg_xid79_154.log").read_text(),
}


@pytest.fixture
def desk(world: World) -> World:
    """A world with the files that pages name: facts, a command, logs, and a profile."""
    for file, text in FILES.items():
        (world.folder / file).write_text(text)
    (world.folder / "pasted").symlink_to(TESTS / "hosts/asus8x")
    wrapper = world.folder / "bin/glm5-serve"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(python=sys.executable, end=warm().fileno()))
    wrapper.chmod(0o755)
    draft = init.Draft("glm5", "8xpro6000", "/models/GLM-5-NVFP4", "127.0.0.1", 8000)
    profile = world.folder / "config/glm5-serve/profiles/glm5.toml"
    profile.write_text(init.text(draft, "sglang"))
    return world


def run(world: World, command: str) -> subprocess.CompletedProcess[str]:
    """A line of a page, in a shell whose `glm5-serve` is a fork."""
    path = f"{world.folder}/bin:{world.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        env=world.environ | {"PATH": path},
        cwd=world.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        pass_fds=[warm().fileno()],
        text=True,
        timeout=300,
        check=False,
    )


HERE = sorted({block.page for block in BLOCKS if not block.needs})
SERVED = sorted({block.page for block in BLOCKS if block.needs == {"server"}})


@pytest.mark.parametrize("page", HERE, ids=name)
def test_what_needs_nothing_runs(desk: World, page: Path) -> None:
    for block in [block for block in BLOCKS if block.page == page and not block.needs]:
        for command, status in block.expected:
            ran = run(desk, command)
            assert ran.returncode == status, (command, ran.stdout)


@pytest.mark.parametrize("page", SERVED, ids=name)
def test_what_needs_a_server_runs_beside_one(desk: World, page: Path) -> None:
    """The stand-in engine, under the name that the pages use."""
    profiles = desk.folder / "config/glm5-serve/profiles"
    (profiles / "8xpro6000.toml").write_text((profiles / "stub.toml").read_text())
    of_it = [block for block in BLOCKS if (block.page, block.needs) == (page, {"server"})]
    expected = [each for block in of_it for each in block.expected]
    if " up " not in expected[0][0]:
        assert desk.run("up", "8xpro6000", "--detach").returncode == 0
    for command, status in expected:
        ran = run(desk, command.replace("127.0.0.1:8000", f"127.0.0.1:{desk.port}"))
        assert ran.returncode == status, (command, ran.stdout)
    desk.run("down", "8xpro6000", "--now")


def words(command: str) -> Iterator[list[str]]:
    """The words behind each `glm5-serve` of a line of shell."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";|&<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    said: list[str] | None = None
    for word in [*lexer, ";"]:
        if set(word) <= set(";|&<>()"):
            if said is not None:
                yield said
            said = None
        elif word == "glm5-serve" and said is None:
            said = []
        elif said is not None:
            said.append(word)


def parsed(said: list[str]) -> None:
    """Raises where the command line is none; nothing is run."""
    command: click.Command = cli
    context = click.Context(cli, info_name="glm5-serve")
    left = said
    while isinstance(command, click.Group) and left:
        context = command.make_context(context.info_name, left, parent=None)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        found, inner, left = command.resolve_command(context, rest)
        assert inner is not None, said
        command = inner
        if not isinstance(command, click.Group):
            command.make_context(found, left)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{name(block.page)}-{block.text[:30]}")
def test_every_command_is_one_that_there_is(block: Block) -> None:
    assert block.needs <= NEEDS
    for command in block.commands:
        for said in words(command):
            # a word that a shell fills in may be anything
            if not any(word.startswith("$") for word in said):
                parsed(said)
