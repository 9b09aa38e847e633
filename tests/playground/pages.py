"""The playground in Chromium: a site built from this checkout, a server that can go away, and a
browser that finds no address but loopback's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conftest import PATIENCE, ROOT, until

PLAYGROUND = ROOT / "playground"


def module(name: str) -> ModuleType:
    """A program of playground/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"playground_{name}", PLAYGROUND / f"{name}.py")
    assert spec
    assert spec.loader
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(made)
    return made


@contextlib.contextmanager
def served(folder: Path, asked: list[str] | None = None) -> Iterator[str]:
    """The address of a folder until the block ends; `asked` gets the path of each request."""
    server = module("serve").server(str(folder))
    if asked is not None:

        class Counted(server.RequestHandlerClass.func):  # type: ignore[name-defined]
            def parse_request(self) -> bool:
                is_one = super().parse_request()
                asked.append(self.path)
                return bool(is_one)

        handler = server.RequestHandlerClass
        server.RequestHandlerClass = lambda *args: Counted(*args, **handler.keywords)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


class Browser:
    """Chromium without a window."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for word in (
            "--headless=new",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1100,1400",
            f"--user-data-dir={folder}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_script_timeout(PATIENCE)

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def open(self, address: str) -> None:
        """Load the page, and wait until Python is there."""
        self.driver.get("about:blank")  # else another fragment alone would load nothing
        self.driver.get(address)
        until(lambda: self.js("return window.playground?.ready ?? null"), "Python in the page")

    def js(self, text: str, *words: Any) -> Any:
        """What a function's body returns."""
        return self.driver.execute_script(text, *words)

    def ask(self, command: str, texts: dict[str, bytes], **words: Any) -> dict[str, Any]:
        """What the page's Python answers: `told`, or `error` and `fix`."""
        pasted = {name: data.decode("latin-1") for name, data in texts.items()}
        answer = self.driver.execute_async_script(
            """const [command, pasted, words, done] = arguments;
            const bytes = (text) => Uint8Array.from(text, (one) => one.charCodeAt(0));
            const texts = Object.fromEntries(Object.entries(pasted).map(([k, v]) => [k, bytes(v)]));
            window.playground.ask(command, texts, words).then(done);""",
            command,
            pasted,
            words,
        )
        return dict(answer)

    def at(self, css: str) -> Any:
        """The first element of a selector."""
        return self.driver.find_element("css selector", css)

    def press(self, css: str) -> None:
        """Click it, wherever the page is scrolled to; what it said before is gone."""
        self.js("document.querySelector('#state').textContent = ''")
        self.js("document.querySelector(arguments[0]).click()", css)

    @property
    def state(self) -> str:
        """The line that says how far it is."""
        return str(self.at("#state").text)

    def verdict(self) -> str:
        """What is drawn, once it is."""
        until(lambda: self.state.endswith("s)") or self.state.startswith("error"), "a verdict")
        return str(self.at("#verdict").text)

    def complaints(self) -> list[str]:
        """What the browser wrote onto its console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
