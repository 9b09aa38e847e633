"""The Debian package: all of it in /opt/glm5-serve, as dpkg's own files, for each Python of the
distributions that it is for. It is no virtual environment that is made at its installation:
docs/decisions/0016-a-debian-package-of-wheels.md says why.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from email.parser import HeaderParser
from hashlib import md5
from importlib import metadata
from pathlib import Path

import manpages
from click.shell_completion import get_completion_class

from launcher import __version__
from launcher.cli import cli
from launcher.operate import unit_files

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "packaging/debian"
NAME, REVISION = "glm5-serve", "1"
OPT = Path("opt/glm5-serve")
COMMON = OPT / "lib/common"  # what is the same for every Python
SCRIPTS = ("postinst", "prerm", "postrm")
# Reserved for addresses that are none (RFC 2606): who builds it for others names himself.
MAINTAINER = os.environ.get("MAINTAINER") or "the glm5-serve authors <glm5-serve@authors.invalid>"
SETTINGS = "home = /usr/bin\ninclude-system-site-packages = false\n"
COMMAND = """\
#!/opt/glm5-serve/bin/python3
import sys

from launcher.__main__ import main

sys.exit(main())
"""
COMPLETIONS = {
    "bash": "bash-completion/completions/glm5-serve",
    "zsh": "zsh/vendor-completions/_glm5-serve",
    "fish": "fish/vendor_completions.d/glm5-serve.fish",
}
CHANGELOG = """\
glm5-serve ({version}) unstable; urgency=medium

  * glm5-serve {upstream}: what is new of it stands in changelog.gz.

 -- {maintainer}  {day}
"""
PARTY = """
Files: {files}
Copyright: the authors of {name}
License: {license}
Comment: {name} {version}, as published, with its licence where its authors put that into it.
"""


def build(dist: Path, wheel: Path, wheels: Mapping[str, Path], at: int) -> Path:
    """The package in `dist`, of our wheel and of the folder of `wheels` for each Python; `at`, in
    seconds since 1970, is the time of every file in it.
    """
    version = f"{__version__}-{REVISION}"
    made = dist / f"{NAME}_{version}_{architecture()}.deb"
    with tempfile.TemporaryDirectory() as folder:
        (root := Path(folder) / "root").mkdir()
        programs(root, wheel, wheels)
        units(root)
        documents(root, version, at)
        control(root, version, wheels)
        settle(root, at)
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(made)]
        environ = {**os.environ, "SOURCE_DATE_EPOCH": str(at)}
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
    return made


def settle(root: Path, at: int) -> None:
    """Modes and times that are the same whoever builds it."""
    programs = {root / "DEBIAN" / name for name in SCRIPTS} | {*(root / OPT / "bin").iterdir()}
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (at, at), follow_symlinks=False)


def architecture() -> str:
    """Debian's word for this machine."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def programs(root: Path, wheel: Path, wheels: Mapping[str, Path]) -> None:
    """An environment that any of these Pythons runs: each finds what is common, and its own."""
    every = {version: {path.name for path in house.iterdir()} for version, house in wheels.items()}
    common = set.intersection(*every.values())
    (bin_ := root / OPT / "bin").mkdir(parents=True)
    newest = wheels[max(wheels)]
    unpack(root / COMMON, [wheel, *(newest / name for name in sorted(common))], bin_)
    (root / "usr/share").mkdir(parents=True)
    share = root / COMMON / "share"
    (share / NAME).rename(root / f"usr/share/{NAME}")  # schemas
    if not any(share.iterdir()):
        share.rmdir()
    for version, names in every.items():
        folder = root / OPT / f"lib/python{version}/site-packages"
        unpack(folder, [wheels[version] / name for name in sorted(names - common)], bin_, version)
        (folder / "glm5-serve.pth").write_text(f"/{COMMON}\n")
    (root / OPT / "pyvenv.cfg").write_text(SETTINGS)
    (bin_ / "glm5-serve").write_text(COMMAND)
    (bin_ / "python3").symlink_to("/usr/bin/python3")
    (bin_ / "python").symlink_to("python3")
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/glm5-serve").symlink_to(f"/{OPT}/bin/glm5-serve")


def unpack(folder: Path, wheels: Sequence[Path], bin_: Path, version: str = "") -> None:
    """Put wheels into a folder that Python imports from; of their programs py-spy alone goes to
    `bin_`. With `version` they are for that Python, whichever runs here.
    """
    names = [path.name.split("-")[:2] for path in wheels]  # by path pip would note where it lay
    tags = {tag for path in wheels for tag in path.stem.rpartition("-")[2].split(".")}
    other = [f"--python-version={version}", *(f"--platform={tag}" for tag in sorted(tags))]
    how = ["-qq", "--no-deps", "--no-index", "--only-binary=:all:", "--no-compile"]
    how += other if version else []
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    with tempfile.TemporaryDirectory() as house:
        for path in wheels:
            shutil.copy(path, house)
        command = [sys.executable, "-m", "pip", "install", *how, "--find-links", house]
        command += ["--target", str(folder), *(f"{name}=={number}" for name, number in names)]
        subprocess.run(command, check=True, env=ours | {"PIP_CONFIG_FILE": os.devnull})
    if (spy := folder / "bin/py-spy").exists():
        spy.rename(bin_ / "py-spy")
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for record in folder.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)  # programs have a path of this machine
        gone = ("../../bin/", f"../../share/{NAME}/")
        record.write_text("".join(line for line in lines if not line.startswith(gone)))


def units(root: Path) -> None:
    """What systemd reads, as it is shipped: `glm5-serve systemd install` builds upon it."""
    place, users = root / "usr/lib/systemd/system", root / "usr/lib/sysusers.d"
    for folder in (place, users, root / "etc/glm5-serve/profiles"):
        folder.mkdir(parents=True)
    for name in (unit_files.SERVICE, unit_files.METRICS, unit_files.GATEWAY):
        shutil.copyfile(unit_files.SHIPPED / name, place / name)
    shutil.copyfile(unit_files.SHIPPED / unit_files.USERS, users / f"{NAME}.conf")


def documents(root: Path, version: str, at: int) -> None:
    """Manual, completion, and what Debian wants beside a package."""
    share, doc = root / "usr/share", root / f"usr/share/doc/{NAME}"
    for folder in (share / "man/man1", doc, share / "lintian/overrides"):
        folder.mkdir(parents=True)
    for file, text in manpages.pages(at).items():
        packed(share / f"man/man1/{file}.gz", text)
    for shell, place in COMPLETIONS.items():
        (path := share / place).parent.mkdir(parents=True)
        made = get_completion_class(shell)
        assert made
        path.write_text(made(cli, {}, NAME, "_GLM5_SERVE_COMPLETE").source() + "\n")
    day = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(at))
    told = {"version": version, "upstream": __version__, "maintainer": MAINTAINER, "day": day}
    packed(doc / "changelog.Debian.gz", CHANGELOG.format(**told))
    packed(doc / "changelog.gz", (ROOT / "CHANGELOG.md").read_text())
    ours = (SOURCES / "copyright").read_text()
    (doc / "copyright").write_text(ours + "".join(third_parties(root)))
    examples = doc / "examples/monitoring"
    shutil.copytree(ROOT / "monitoring", examples, ignore=shutil.ignore_patterns("*test*"))
    shutil.copyfile(SOURCES / "lintian-overrides", share / f"lintian/overrides/{NAME}")


def packed(path: Path, text: str) -> None:
    """A file as Debian packs it: no name and no time in it."""
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def third_parties(root: Path) -> Iterator[str]:
    """What is in there of others, one paragraph each, by their own metadata."""
    found: dict[str, tuple[Message, Path]] = {}
    for path in sorted((root / OPT / "lib").rglob("*.dist-info/METADATA")):
        about = HeaderParser().parsestr(path.read_text())
        found.setdefault(str(about["Name"]).lower(), (about, path))
    found.pop(NAME)
    for name, (about, path) in sorted(found.items()):
        yield PARTY.format(
            files="\n ".join(f"{OPT}/lib/*/{top}*" for top in tops(path)),
            name=name,
            version=about["Version"],
            license=licence(about),
        )


def licence(about: Message) -> str:
    """The licence that a package says it has, as one word."""
    classes = map(str, about.get_all("Classifier", []))
    classified = (one.rpartition(" :: ")[2] for one in classes if one.startswith("License ::"))
    said = about["License-Expression"] or about["License"] or next(classified, "unknown")
    return re.sub(r"[^\w.+-]+", "-", str(said).splitlines()[0]).strip("-")


def tops(about: Path) -> list[str]:
    """The files and folders that a distribution put beside its metadata."""
    files = metadata.Distribution.at(about.parent).files or ()
    names = {file.parts[0].removesuffix(".dist-info") for file in files}
    return sorted(names - {"..", "__pycache__"})


def control(root: Path, version: str, wheels: Mapping[str, Path]) -> None:
    """What dpkg reads."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    pythons = sorted(tuple(map(int, one.split("."))) for one in wheels)
    low, high = pythons[0][1], pythons[-1][1]
    about = {
        "version": version,
        "architecture": architecture(),
        "maintainer": MAINTAINER,
        "size": sum(-(-path.stat().st_size // 1024) for path in files),
        "python": f"python3 (>= 3.{low}), python3 (<< 3.{high + 1})",
    }
    (folder := root / "DEBIAN").mkdir()
    (folder / "control").write_text((SOURCES / "control").read_text().format(**about))
    sums = (f"{md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    (folder / "md5sums").write_text("".join(sums))
    for name in (*SCRIPTS, "triggers"):
        shutil.copyfile(SOURCES / name, folder / name)
