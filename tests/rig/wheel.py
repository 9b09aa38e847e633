"""A wheel of SGLang that declares just these options and reads just these variables."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from launcher.engines.options import Option

METADATA = "Metadata-Version: 2.1\nName: sglang\nVersion: {}\n"
READERS = {"size": "human_readable_int", "json": "json.loads"}
WHEEL = "Wheel-Version: 1.0\nGenerator: rig\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(folder: Path, release: str, options: Iterable[Option], variables: Iterable[str]) -> Path:
    """The wheel, in a folder that pip can be pointed at."""
    path = folder / f"sglang-{release}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    told = f"sglang-{release}.dist-info"
    body = "".join(f"        {declared(option)}\n" for option in options)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(
            "sglang/srt/server_args.py",
            f"class ServerArgs:\n    def add_cli_args(parser):\n{body}",
        )
        reads = "".join(f"os.environ.get({name!r})\n" for name in sorted(variables))
        made.writestr("sglang/srt/environ.py", reads)
        made.writestr(f"{told}/METADATA", METADATA.format(release))
        made.writestr(f"{told}/WHEEL", WHEEL)
        made.writestr(f"{told}/RECORD", "")
    return path


def declared(option: Option) -> str:
    """Its `add_argument`."""
    words = [repr(name) for name in option.names]
    if option.off:
        words.append("action=argparse.BooleanOptionalAction")
    elif option.takes == "nothing":
        words.append("action='store_true'")
    elif option.takes != "one":
        words.append(f"nargs={'?' if option.takes == 'maybe' else '+'!r}")
    if option.type != "str":
        words.append(f"type={READERS.get(option.type, option.type)}")
    if option.choices:
        is_number = option.type == "int"
        words.append(f"choices={[int(one) if is_number else one for one in option.choices]!r}")
    if option.default is not None:
        words.append(f"default={option.default!r}")
    if option.deprecated:
        words += ["help='deprecated'", f"new_flag={option.instead!r}"]
    return f"parser.add_argument({', '.join(words)})"
