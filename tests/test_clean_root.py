"""Debian 12 and 13 as their installer leaves them: whoever types what the pages say, in their order,
gets from nothing to a service with a key and metrics, and leaves nothing behind.

The commands are read from the pages. There is no GPU, no hub and no wheel of SGLang for one here:
what stands in for these is said in `Newcomer.instead`, and nothing else is another command than the
page's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, running, until
from rig import dist, pages
from rig.clean_root import SUITES, CleanHost, why_not

README, INSTALL = "README.md", "docs/install.md"
FIRST, TROUBLE = "docs/first-deployment.md", "docs/troubleshooting.md"
# No GPU is here: this host has a profile of its own by the name that the pages use.
OWN = """\
[engine]
python = "/opt/sglang/bin/python"
[flags]
model-path = "/models/GLM-5-NVFP4"
served-model-name = "glm-5"
port = 8000
device = "cpu"
[smoke]
questions = [{ ask = "What is the capital of France?", expect = "paris" }]
"""
REAL = f'extends = "cpu-demo"\n{OWN}'
# But for the checkout. Caches, and the state in a home, stay as the page says.
OTHERS = ("/home/op/glm5-serve*", "/root/.cache/pip/*", "/proc/*")
LEFT = " ".join(["find / -xdev -name '*glm5*'", *(f"-not -path '{path}'" for path in OTHERS)])
KEPT = {"/etc/glm5-serve", "/etc/glm5-serve/profiles/glm5.toml", "/etc/glm5-serve/keys/glm5"}

UNIT = "glm5-serve@glm5.service"
NOTHING = lambda: None
ENGINE = "/opt/sglang"
MODEL = "/models/GLM-5-NVFP4"
CACHE = "/home/op/.cache/glm5-serve/cpu-demo"

pytestmark = [pytest.mark.roots, pytest.mark.engine]


class Newcomer:
    """Somebody at a host who does what the pages say."""

    def __init__(self, host: CleanHost) -> None:
        self.host = host

    def does(
        self,
        page: str,
        heading: str,
        having: str = "",
        instead: Mapping[str, Callable[[], object]] = {},
        names: Mapping[str, str] = {},
    ) -> str:
        """Type what stands below a heading, of several blocks those `having` a text; what is not to
        be had here is done `instead`. Gives what was printed.
        """
        said, done = "", set()
        for block in pages.blocks(ROOT / page):
            if block.heading != heading or having not in block.text:
                continue
            for line in block.commands:
                command = line.partition("  #")[0].strip()
                for name, text in names.items():
                    command = command.replace(name, text)
                done.add(command)
                if act := instead.get(command):
                    act()
                else:
                    said += self.types(command, network="network" in block.needs)
        assert done, f"{page} has no such commands below {heading}"
        assert done >= {*instead}, f"{page}, {heading}: not among {done}"
        return said

    def types(self, command: str, network: bool = False) -> str:
        """Type a line, that works; `doctor` may say no."""
        typed = self.host.type(command, network)
        fine = (0, 1) if "glm5-serve doctor" in command else (0,)
        assert typed.returncode in fine, (
            f"{command}\n{typed.stdout}\n{self.host.journal('-u', UNIT)}"
        )
        assert "Traceback" not in typed.stdout, typed.stdout
        return typed.stdout

    def deploys(self, place_engine: Callable[[str], None], own: str = OWN) -> None:
        """The page First deployment, from its second step on."""
        self.host.write("/etc/glm5-serve/profiles/8xpro6000.toml", own)
        install = {"sudo /opt/sglang/bin/pip install sglang==0.5.23": lambda: place_engine(ENGINE)}
        self.does(FIRST, "2. Install the engine", instead=install)
        deep = "sudo glm5-serve doctor 8xpro6000 --deep --set engine.python=/opt/sglang/bin/python"
        self.does(FIRST, "3. Judge the host, fix it, reboot", instead={deep: NOTHING})
        fetch = "sudo glm5-serve fetch lukealonso/GLM-5-NVFP4 --to /models/GLM-5-NVFP4"
        self.does(
            FIRST, "4. Fetch the checkpoint", instead={fetch: lambda: self.host.place_model(MODEL)}
        )
        self.does(FIRST, "5. Write a profile")
        fit = "glm5-serve fit glm5"  # that is about GPUs
        self.does(FIRST, "6. Does it fit?", instead={fit: NOTHING})

        up = "cd / && sudo glm5-serve up glm5"
        self.does(FIRST, "7. Start it", instead={up: NOTHING})
        with running(*self.host.typed(up), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True) as foreground:  # fmt: skip
            until(lambda: self.is_ready() or foreground.poll() is not None, "it serves")
            assert foreground.poll() is None, foreground.communicate(timeout=PATIENCE)
            assert "Paris" in self.does(FIRST, "8. Ask it")
            self.does(FIRST, "9. Make it a service")
            printed, _ = foreground.communicate(timeout=PATIENCE)
            assert foreground.returncode == 0, printed
        user = self.host.show(UNIT, "User", "ActiveState")
        assert user == {"User": "glm5-serve", "ActiveState": "active"}
        assert "Paris" in self.does(FIRST, "8. Ask it")
        metrics = "curl -s http://127.0.0.1:9464/metrics"  # whoever reads on takes longer
        until(lambda: self.host.type(metrics).returncode == 0, "the exporter listens")
        scraped = self.does(FIRST, "10. Watch it")
        assert 'glm5_serve_ready{engine="sglang",profile="glm5"} 1.0' in scraped

    def is_ready(self) -> bool:
        time.sleep(2)  # short: a command takes time that the server wants
        return self.host.type("sudo glm5-serve status glm5").returncode == 0

    def uninstalls(self, having: str) -> None:
        """The page's Uninstall, of that way; but for what it says is kept nothing is left."""
        self.does(INSTALL, "Uninstall", "systemd uninstall", names={"NAME": "glm5"})
        self.does(INSTALL, "Uninstall", having)
        left = {*self.host.run("sh", "-c", LEFT, check=False).stdout.split()}
        assert left <= KEPT, left
        assert self.host.run("pgrep", "-f", "sglang|launcher", check=False).stdout == ""


@pytest.fixture(params=SUITES)
def newcomer(request: pytest.FixtureRequest) -> Iterator[Newcomer]:
    if reason := why_not():
        pytest.skip(reason)
    with CleanHost(request.param) as host:
        yield Newcomer(host)


def test_from_a_checkout_to_a_service_and_back(newcomer: Newcomer) -> None:
    """As the README begins, with the real engine."""
    newcomer.does(README, "Install", "/opt/glm5-serve")
    newcomer.deploys(newcomer.host.place_engine, REAL)
    newcomer.uninstalls("/opt/glm5-serve")


def test_one_user_tries_it_by_uv(newcomer: Newcomer) -> None:
    """With the real engine: the demo, then a server of the user's own, and what to send of it."""
    host = newcomer.host
    host.has("python3")
    host.run("ln", "-s", "/opt/uv/uv", "/usr/local/bin/uv")
    newcomer.does(README, "Install", "uv tool")
    host.place_engine(f"{CACHE}/engine")  # it is 3.2 GB
    host.place_model(f"{CACHE}/model")
    host.run("chown", "-R", "op:", "/home/op/.cache")
    assert "Paris" in newcomer.does(README, "Two commands", "demo")

    refused = host.type("sudo ~/.local/bin/glm5-serve systemd install 8xpro6000")
    assert refused.returncode == 78, refused.stdout
    assert "fix    " in refused.stdout

    host.write("/etc/glm5-serve/profiles/8xpro6000.toml", REAL)
    host.place_engine(ENGINE)
    host.place_model(MODEL)
    newcomer.does(README, "Two commands", "up 8xpro6000")
    assert "Paris" in newcomer.does(README, "Two commands", "curl")
    newcomer.does(TROUBLE, "What to send")
    newcomer.types("glm5-serve down")
    newcomer.does(INSTALL, "Uninstall", "uv tool")
    assert host.type("glm5-serve --version").returncode == 127


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` makes."""
    folder = tmp_path_factory.mktemp("dist")
    dist.make(folder, "python", "wheelhouse", "deb")
    return folder


@pytest.mark.parametrize(
    ("way", "file", "place", "gone"),
    [
        ("Debian package", "*.deb", "dist", "apt"),
        ("Environment in /opt", "*.whl", "dist", "/opt/glm5-serve"),
        ("Without a network", "*.tar", ".", "/opt/glm5-serve"),
    ],
)
def test_each_other_way_leads_to_a_service(
    newcomer: Newcomer, made: Path, way: str, file: str, place: str, gone: str
) -> None:
    """With the stand-in for the engine."""
    if way == "Without a network":
        newcomer.host.has("python3-venv")
    (given,) = made.glob(file)
    newcomer.host.give(given, f"{place}/{given.name}")
    newcomer.does(INSTALL, way)
    newcomer.deploys(newcomer.host.place_stand_in)
    newcomer.does(INSTALL, "Upgrade", names={"NAME": "glm5"})
    assert newcomer.is_ready()
    newcomer.uninstalls(gone)
