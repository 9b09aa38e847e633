"""Lays out what the site is built from, and looks for dead links in what was built: `make docs`.

`lay_site.py lay FOLDER` copies README.md, docs/ and every file that these link to into FOLDER, each
at its own place, so that a link which works on a forge works in the site. `lay_site.py links SITE`
opens every page of a built site: what it links to must be there, and the anchor in it, and nothing
may be loaded from elsewhere; exit 1 for what is not so. Zensical's strict mode looks at links to
pages alone, not at other files, nor at the navigation.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^(```+|~~~+).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|<(?:img|a) [^>]*?(?:src|href)=\"([^\"]+)\"")


def links(text: str) -> Iterator[str]:
    """Where the links and pictures of Markdown lead, those to other hosts left out."""
    for found in LINK.finditer(FENCE.sub("", text)):
        link = found[1] or found[2]
        if not urlsplit(link).scheme:
            yield link


def pages(root: Path = ROOT) -> dict[Path, str]:
    """README.md, docs/ and what can be reached from there: text by path, "" for no Markdown."""
    found: dict[Path, str] = {}
    left = [root / "README.md", *(path for path in (root / "docs").rglob("*") if path.is_file())]
    while left:
        path = left.pop()
        if path in found or not path.is_file():
            continue
        found[path] = path.read_text("utf-8") if path.suffix == ".md" else ""
        left += [target(path, link) for link in links(found[path])]
    return found


def target(page: Path, link: str) -> Path:
    """The file that a link of a page means; the page itself for an anchor alone."""
    path = unquote(urlsplit(link).path)
    return (page.parent / path).resolve() if path else page


def lay(folder: Path, root: Path = ROOT) -> None:
    """Copy the pages, and what they link to, into a folder that is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in pages(root):
        place = folder / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


class Page(HTMLParser):
    """The links and the anchors of a page of HTML, and what a browser loads for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            if value and name in ("href", "src") and tag != "base":
                (self.links if tag == "a" else self.loads).append(value)


def dead(site: Path) -> Iterator[str]:
    """The links of a built site that lead nowhere or load from elsewhere, as `PAGE: LINK`."""
    read = {path: Page(path.read_text("utf-8")) for path in site.resolve().rglob("*.html")}
    for path, page in sorted(read.items()):
        if path.name == "404.html":
            continue  # its links are absolute: the host decides where it is shown
        for link in (*page.links, *page.loads):
            if urlsplit(link).scheme or urlsplit(link).netloc:
                if link in page.loads and not link.startswith("data:"):
                    yield f"{path.relative_to(site.resolve())}: {link}"
                continue
            to = target(path, link)
            to = to / "index.html" if to.is_dir() else to
            anchor = unquote(urlsplit(link).fragment)
            if not to.is_file() or (anchor and to in read and anchor not in read[to].anchors):
                yield f"{path.relative_to(site.resolve())}: {link}"


def main(words: list[str]) -> int | str:
    """The exit status, or what is wrong."""
    match words:
        case ["lay", folder]:
            lay(Path(folder))
            return 0
        case ["links", site] if any(Path(site).rglob("*.html")):
            missing = [*dead(Path(site))]
            print(*missing, f"{len(missing)} dead links", sep="\n")
            return bool(missing)
        case ["links", site]:
            return f"error  no page in {site}\nfix    make docs"
    return "error  wanted: lay_site.py lay FOLDER, or lay_site.py links SITE"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
