"""The checkpoint, read into memory while the server imports: which files, how much of them, and who
is left when the launcher goes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import NO_READING, PATIENCE, World, next_line, running, until
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import dialect, runtime
from launcher.engines.loading import PATTERNS, Loading
from launcher.host.collectors.room import room
from launcher.output import events
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy
from launcher.serve.readahead import NOT_ALL, Request, Told
from launcher.serve.readahead_child import PIECE, WORTH, Reader, cached, checked, limit_of
from launcher.serve.readahead_files import Files, Shard, file_system, files, is_far
from launcher.statedir.events import Event

GIB = 1 << 30
NO_LIMIT = 1 << 60


def header(size: int) -> bytes:
    """The beginning of a weight file of so many bytes in all, with one tensor."""
    told = json.dumps(
        {"a": {"dtype": "U8", "shape": [size - 108], "data_offsets": [0, size - 108]}}
    )
    return (100).to_bytes(8, "little") + told.encode().ljust(100)


def sparse(path: Path, size: int = WORTH) -> Path:
    """A file of so many bytes that takes none of the disk; a weight file is whole."""
    with path.open("wb") as file:
        if path.suffix == ".safetensors" and size > 108:
            file.write(header(size))
        file.truncate(size)
    return path


def written(path: Path, size: int = WORTH) -> Path:
    """A file whose bytes lie on the disk, and nowhere else."""
    with path.open("wb") as file:
        file.write(os.urandom(1 << 20) * (size >> 20))
        file.seek(0)
        file.write(header(size))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def request(folder: Path, ranks: int = 1) -> Request:
    return Request((str(folder),), PATTERNS["auto"], natural=False, ranks=ranks, copies=False)


def found_in(folder: Path, *, natural: bool = False) -> Files:
    return files([str(folder)], PATTERNS["auto"], {}, natural=natural)


def command(asked: Request) -> list[str]:
    words = [sys.executable, "-P", "-m", "launcher.serve.readahead_child"]
    return [*words, json.dumps(asdict(asked))]


def told_last(asked: Request) -> Told:
    """What the program says at its end."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(*command(asked), **pipes) as process:
        *_, line = iter(lambda: next_line(process), "")
    return Told.from_json(json.loads(line))


def read_alone(reader: Reader) -> Reader:
    """Read as one of its threads does, to the end."""
    reader.work()
    return reader


# -- what is read ----------------------------------------------------------------------------------


def test_a_cold_checkpoint_is_read_and_a_cached_one_is_not(tmp_path: Path) -> None:
    for number in range(2):
        written(tmp_path / f"model-{number}.safetensors")
    first, second = told_last(request(tmp_path)), told_last(request(tmp_path))

    assert first.total == 2 * WORTH
    assert first.end == ""
    assert first.read + first.cached >= first.total
    if file_system(tmp_path) != "tmpfs":
        assert first.read > WORTH, "the disk gave most of it"
        assert (second.read, second.cached) == (0, 2 * WORTH)


def test_a_sparse_file_is_read_to_its_end(tmp_path: Path) -> None:
    sparse(tmp_path / "model.safetensors", WORTH + 12345)
    told = told_last(request(tmp_path))

    assert (told.read + told.cached, told.end) == (WORTH + 12345, "")


def test_a_small_checkpoint_is_not_worth_a_word(tmp_path: Path) -> None:
    sparse(tmp_path / "model.safetensors", WORTH - 1)

    assert not told_last(request(tmp_path)).is_news


def test_what_is_memory_already_is_left_alone() -> None:
    folder = Path("/dev/shm") / f"glm5-test-{os.getpid()}"
    if file_system(folder.parent / "x") != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs here")
    folder.mkdir()
    try:
        sparse(folder / "model.safetensors")
        told = told_last(request(folder))
    finally:
        (folder / "model.safetensors").unlink()
        folder.rmdir()

    assert (told.read, told.cached, told.where, told.end) == (0, WORTH, "tmpfs", "")


@pytest.mark.parametrize(
    ("kind", "far"),
    [("nfs4", True), ("lustre", True), ("fuse.juicefs", True), ("ext4", False), ("", False)],
)
def test_what_comes_over_a_network_is_known(kind: str, far: bool) -> None:
    assert is_far(kind) == far


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    assert told_last(request(tmp_path)).end == "no weight files are here"
    assert told_last(request(tmp_path / "none")).end == "no weight files are here"


def test_only_what_an_index_names_is_read(tmp_path: Path) -> None:
    names = ("model-1.safetensors", "model-2.safetensors", "consolidated.safetensors")
    for name in names:
        sparse(tmp_path / name, 1)
    index = {"weight_map": {"a": names[1], "b": names[0], "c": "../other.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    found = found_in(tmp_path)
    assert [shard.path.name for shard in found.shards] == [*names[:2]]
    assert not found.lacking


def test_files_come_in_the_order_of_their_loader(tmp_path: Path) -> None:
    for number in (1, 2, 10, 100):
        sparse(tmp_path / f"model-{number}.safetensors", 1)

    def order(*, natural: bool) -> list[str]:
        return [shard.path.stem for shard in found_in(tmp_path, natural=natural).shards]

    assert order(natural=False) == ["model-1", "model-10", "model-100", "model-2"]
    assert order(natural=True) == ["model-1", "model-2", "model-10", "model-100"]


def test_a_fifo_a_folder_and_a_dangling_link_are_no_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").mkdir()
    (tmp_path / "c.safetensors").symlink_to(tmp_path / "nothing")
    sparse(tmp_path / "d.safetensors", 5)

    found = found_in(tmp_path)
    assert found.shards == [Shard(tmp_path / "d.safetensors", 5)]
    assert found.lacking == {
        "a.safetensors": "is a FIFO",
        "b.safetensors": "is a folder",
        "c.safetensors": "is not there",
    }


# -- what is not whole -----------------------------------------------------------------------------


def _gone(path: Path) -> None:
    path.unlink()


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _with_index(folder: Path, names: Sequence[str]) -> None:
    index = {"weight_map": {str(at): name for at, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FAULTS = {
    _gone: "is not there",
    _emptied: "is empty",
    _cut: "the download did not finish",
    _a_fifo: "is a FIFO",
    _a_loop: "cannot be read: too many levels of symbolic links",
}


@pytest.mark.parametrize("is_indexed", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_all_is_what_an_index_names_or_numbers_count(
    tmp_path: Path, fault: Callable[[Path], None], is_indexed: bool
) -> None:
    names = [f"model-{at:05}-of-00003.safetensors" for at in range(1, 4)]
    for name in names:
        sparse(tmp_path / name, WORTH)
    if is_indexed:
        _with_index(tmp_path, names)
    fault(tmp_path / names[1])
    told = told_last(request(tmp_path))

    assert told.end
    assert told.end.startswith(f"{NOT_ALL}{names[1]} ")
    assert told.end.endswith(FAULTS[fault])
    assert names[0] not in told.end
    assert told.total >= 2 * WORTH, "the others are read all the same"


def test_a_small_checkpoint_that_is_not_whole_is_told(tmp_path: Path) -> None:
    _with_index(
        tmp_path, [sparse(tmp_path / "model-1.safetensors", 200).name, "model-2.safetensors"]
    )

    assert told_last(request(tmp_path)).end == f"{NOT_ALL}model-2.safetensors is not there"


def test_a_model_beside_it_that_is_not_here_is_told(tmp_path: Path) -> None:
    sparse(tmp_path / "model.safetensors", 200)
    asked = replace(request(tmp_path), models=(str(tmp_path), "org/draft"))

    assert told_last(asked).end == f"{NOT_ALL}org/draft has no weight files here"


def test_what_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    """Four of six, removed or cut once their sizes were taken."""
    for at in range(6):
        sparse(tmp_path / f"model-{at}.safetensors", 1 << 20)
    seen = found_in(tmp_path).shards
    for shard, fault in zip(seen, (_gone, _gone, _cut, _emptied), strict=False):
        fault(shard.path)
    told = checked(seen, {})

    assert told.startswith(f"{NOT_ALL}model-0.safetensors is not there any more; model-1.safet")
    assert "model-2.safetensors is 524288 bytes, its header says 1048576 bytes" in told
    assert told.endswith("; 1 more")


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_file_that_vanished_costs_itself_alone(tmp_path: Path) -> None:
    there = sparse(tmp_path / "b", 10)
    files = [Shard(tmp_path / "a", 10), Shard(there, 10)]
    reader = read_alone(Reader(deque(files), NO_LIMIT))

    assert reader.failed == {"a": "cannot be read: no such file or directory"}
    assert reader.read + reader.cached == 10


def test_an_input_error_ends_that_file(tmp_path: Path) -> None:
    there = sparse(tmp_path / "b", 10)
    # its first page is mapped by nobody: EIO
    files = [Shard(Path("/proc/self/mem"), 3 * PIECE), Shard(there, 10)]
    reader = read_alone(Reader(deque(files), NO_LIMIT))

    assert reader.failed == {"mem": "cannot be read: input/output error"}
    assert reader.read + reader.cached == 10


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a", 10)
    path.chmod(0)
    reader = Reader(deque([Shard(path, 10)]), NO_LIMIT)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        read_alone(reader)
    finally:
        if root:
            os.seteuid(0)

    assert reader.failed == {"a": "cannot be read: permission denied"}


def test_a_file_that_became_shorter_ends_earlier(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a", PIECE)
    reader = read_alone(Reader(deque([Shard(path, 100 * PIECE)]), NO_LIMIT))

    assert reader.read + reader.cached == PIECE
    assert reader.failed == {"a": "became shorter while it was read"}


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    files = [Shard(written(tmp_path / str(n), 1 << 20), 1 << 20) for n in range(5)]
    read_alone(Reader(deque(files), NO_LIMIT))

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_it_stops_where_memory_ends(tmp_path: Path) -> None:
    files = [Shard(written(tmp_path / str(n), 16 << 20), 16 << 20) for n in range(4)]
    reader = read_alone(Reader(deque(files), 20 << 20))

    assert reader.is_full
    assert 20 << 20 <= reader.passed <= (32 << 20)


def test_what_is_cached_takes_room_as_well(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a")
    path.read_bytes()
    with path.open("rb") as file:
        asked = cached(file.fileno(), WORTH)

    if file_system(path) != "tmpfs":
        assert asked == WORTH
        reader = read_alone(Reader(deque([Shard(path, WORTH), Shard(path, WORTH)]), WORTH))
        assert reader.is_full


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[psutil.Process]:
    """The reader of a launcher that is killed without a word, stopped before it has read all."""
    sparse(tmp_path / "model.safetensors", 2 * GIB)
    launcher = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    words = (sys.executable, "-c", launcher, *command(request(tmp_path)))
    with running(*words, stdout=subprocess.PIPE) as process:
        child = psutil.Process(int(next_line(process)))
        next_line(process)
        child.suspend()
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        yield child
    if child.is_running():
        child.kill()


def test_sigkill_of_the_launcher_leaves_no_reader(reading: psutil.Process) -> None:
    reading.resume()
    until(lambda: not is_alive(reading), "the reader is gone")


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- how much --------------------------------------------------------------------------------------


def host(root: Path, available: int, groups: str, **files: str) -> Path:
    """A host's /proc and /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {available >> 10} kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_without_control_groups_the_kernel_s_word_counts(tmp_path: Path) -> None:
    left = room(host(tmp_path, 8 * GIB, "0::/\n"))

    assert (left.size, left.of) == (8 * GIB, "available memory")


@pytest.mark.parametrize("limit", ["max", "high"])
def test_the_tightest_group_above_counts(tmp_path: Path, limit: str) -> None:
    files = {
        f"a.slice__memory.{limit}": str(3 * GIB),
        "a.slice__memory.current": str(2 * GIB),
        "a.slice__memory.stat": f"anon 1\ninactive_file {GIB}\n",
        f"a.slice__b.service__memory.{limit}": "max",
        "a.slice__b.service__memory.current": "1",
        "a.slice__b.service__memory.stat": "inactive_file 0\n",
    }
    left = room(host(tmp_path, 8 * GIB, "0::/a.slice/b.service\n", **files))

    assert left.size == 2 * GIB
    assert left.of == f"memory.{limit} of its control group"


def test_version_1_counts_as_well(tmp_path: Path) -> None:
    files = {
        "memory__memory.limit_in_bytes": "9223372036854771712",
        "memory__memory.usage_in_bytes": str(9 * GIB),
        "memory__memory.stat": "total_inactive_file 0\n",
        "memory__box__memory.limit_in_bytes": str(2 * GIB),
        "memory__box__memory.usage_in_bytes": str(GIB),
        "memory__box__memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}\n",
    }
    left = room(host(tmp_path, 8 * GIB, "4:cpu,memory:/box\n1:name=systemd:/\n", **files))

    assert left.size == GIB + GIB // 2


def test_a_full_group_leaves_nothing(tmp_path: Path) -> None:
    files = {
        "memory.max": "10",
        "memory.current": "12",
        "memory.stat": "inactive_file 0\n",
    }
    assert room(host(tmp_path, 8 * GIB, "0::/\n", **files)).size == 0


def test_this_host_has_room() -> None:
    assert room().size > 0


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_some_is_always_spared(size: int, needed: int) -> None:
    left = type(room())(size, "")
    assert 0 <= limit_of(left, needed) <= max(0, size - needed)


# -- which loaders ---------------------------------------------------------------------------------


def loading(engine: str, **flags: str) -> Loading:
    """What a plan with these options has read."""
    settings = tuple(
        Setting(f"--{name}", value, "", "", option=name)
        for name, value in ((name.replace("_", "-"), value) for name, value in flags.items())
    )
    made = Plan(
        name="p",
        program=("python3",),
        arguments=(),
        env={},
        host="",
        port=1,
        model="/m",
        model_name="m",
        policy=Policy(),
        settings=settings,
        words={},
    )
    return runtime(engine).loading(made)


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_an_ordinary_loader_is_helped(engine: str) -> None:
    assert loading(engine) == Loading(("/m",), ("*.safetensors", "*.bin"), engine == "vllm")


@pytest.mark.parametrize(
    ("engine", "flags", "why"),
    [
        ("sglang", {"load_format": "instanttensor"}, "past the page cache"),
        ("sglang", {"load_format": "fastsafetensors"}, "GPU Direct Storage"),
        ("sglang", {"load_format": "dummy"}, "no weight files"),
        ("sglang", {"load_format": "presharded"}, "of its own"),
        ("sglang", {"load_format": "private"}, "not known"),
        ("sglang", {"weight_cache_mode": "client"}, "another process"),
        ("vllm", {"load_format": "instanttensor"}, "past the page cache"),
        ("vllm", {"load_format": "fastsafetensors"}, "GPU Direct Storage"),
        ("vllm", {"load_format": "dummy"}, "no weight files"),
        ("vllm", {"load_format": "runai_streamer"}, "not known"),
    ],
)
def test_a_loader_that_would_read_twice_is_left_alone(
    engine: str, flags: dict[str, str], why: str
) -> None:
    assert why in loading(engine, **flags).against


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ("sglang", {"load_format": "safetensors"}),
        ("sglang", {"weight_cache_mode": "off"}),
        (
            "sglang",
            {
                "load_format": "fastsafetensors",
                "model_loader_extra_config": '{"enable_gds": false}',
            },
        ),
        ("vllm", {"load_format": "fastsafetensors", "tensor_parallel_size": "8"}),
        ("vllm", {"load_format": "hf"}),
        ("vllm", {"safetensors_load_strategy": "eager"}),
    ],
)
def test_one_that_reads_through_the_cache_is_not(engine: str, flags: dict[str, str]) -> None:
    assert loading(engine, **flags).against == ""


def test_a_draft_model_is_read_after_the_model() -> None:
    assert loading("sglang", speculative_draft_model_path="/d").models == ("/m", "/d")
    assert loading("vllm", speculative_config='{"model": "/d"}').models == ("/m", "/d")
    assert loading("vllm", speculative_config='{"method": "mtp"}').models == ("/m",)
    assert loading("vllm", speculative_config="[1, {").models == ("/m",)


UNKNOWN = {
    "sglang": {"gguf", "private", "runai_streamer"},
    "vllm": {"gguf", "runai_streamer"},
}


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_every_format_of_every_release_is_judged(engine: str) -> None:
    catalogue = dialect(engine).options
    formats = {
        choice
        for name in catalogue.releases
        if (option := catalogue.release(name).options.get("--load-format"))
        for choice in option.choices
    }

    assert formats
    judged = {name: loading(engine, load_format=name).against for name in formats}
    assert {name for name, why in judged.items() if "not known" in why} <= UNKNOWN[engine]


# -- under `up` ------------------------------------------------------------------------------------


def with_weights(world: World, size: int) -> None:
    """A checkpoint that is whole, of one tensor with so many bytes, which nobody forbids to read."""
    world.profile.write_text(world.profile.read_text().replace(NO_READING, ""))
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    path = world.folder / "model/model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + size)


def ended(world: World) -> dict[str, Any]:
    """The last that was told of a reading that is over."""
    return next((one for one in world.events("readahead") if one["end"] is not None), {})


def test_up_reads_ahead_and_says_so(world: World) -> None:
    with_weights(world, 2 * WORTH)
    world.faults(load_seconds=15)
    world.start("up", "-p", "stub")
    until((world.instance / "events.jsonl").exists, "it begins")
    told = until(lambda: ended(world), "it is told")

    assert told["read"] + told["cached"] == told["total"] > 2 * WORTH
    assert told["end"] == ""


def test_it_can_be_switched_off(world: World) -> None:
    with_weights(world, 2 * WORTH)
    words = ("up", "-p", "stub", "--detach", "--set", "supervision.read_ahead=false")

    assert world.run(*words).returncode == 0
    assert not world.events("readahead")


# -- in words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Told(4 * GIB, 0, 4 * GIB, 2.0, "", ""), "4.0 GiB in 2.0 s (2.0 GiB/s)"),
        (Told(0, 4 * GIB, 4 * GIB, 0.1, "", ""), "4.0 GiB: all of it is in memory already"),
        (
            Told(3 * GIB, GIB, 4 * GIB, 2.0, "nfs4", ""),
            "4.0 GiB in 2.0 s (1.5 GiB/s), 1.0 GiB of it were in memory, from nfs4",
        ),
        (Told(GIB, 0, 4 * GIB, 1.0, "", "why"), "1.0 of 4.0 GiB in 1.0 s (1.0 GiB/s): why"),
        (Told(end="why"), "nothing: why"),
        (Told(0, GIB, GIB, 1.0, "", "why"), "1.0 GiB, 1.0 GiB of it were in memory: why"),
    ],
)
def test_it_is_told_in_words(told: Told, words: str) -> None:
    event = Event("readahead", asdict(told), "2026-11-26T10:00:00.000Z", "p")

    assert events.in_words(event) == f"10:00:00  read ahead {words}"


def test_one_that_is_under_way_has_no_line_of_its_own() -> None:
    assert events.in_words(Event("readahead", asdict(Told(1, 0, 2, 1.0)), "t" * 20, "p")) is None
