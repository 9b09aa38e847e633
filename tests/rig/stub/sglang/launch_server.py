"""A stand-in engine: SGLang's processes, names, log lines, endpoints and signals in a third of a
second.

Faults come from the JSON file in $STUB_FAULTS, read again at each step so that a test can change
them under way:

    exit_at: "parse" | "load" | "serve"   leave with `exit_code` (negative: kill itself with that signal) there
    hang_at: "parse" | "load" | "health" | "loads"  stop answering there
    die_at_load: n                        the first n starts kill themselves while loading (counted in a file)
    deaf: true                            ignore SIGTERM
    graphs: true                          have a phase of CUDA graphs
    load_seconds, generate_seconds        how long loading, or one answer, takes
    drain: seconds                        on SIGTERM, leave only after this long
    escape: true                          one rank in a session of its own, one double-forked, one stopped
    lines: [...]                          extra log lines while loading
    record: path                          write argv and environment there as JSON
    answer: text                          what chat answers to every question
    thought: text                         what it thinks, where it has a parser for that and is not asked not to
    tool_call: name                       which tool it calls; "" for none
    concluded: text                       what it says after it thought
    arguments: text                       of the tool's call
    finish: reason                        why chat's answer ends
    always: true                          thinks whatever it is asked: without little effort and room, until it is cut
    reasoning: key                        where a message has its reasoning, reasoning_content
    loads: [...]                          what /v1/loads says
    metrics: text                         what /metrics says
    drips: [path, ...]                    what these say comes byte by byte, and has no end
    busy: true                            /v1/loads says how many chats are under way
    steps: {seconds, accepted}            chat decodes in steps of so many seconds, with so many tokens of each
                                          accepted; /v1/loads has the sums, and a letter is 16 tokens
    garbage_from: n                       from its nth letter on, an answer is no text
    loop: true                            an answer is its first word again and again
    digit: true                           the last digit of an answer is another one
    swallow: true                         an answer is all reasoning, without its end
    slowly: {pieces, seconds}             who asks with that word gets so many, with a pause before each
    paused: true                          as after /pause_generation
    reply: {path: status}                 the status of an endpoint
"""

import argparse
import contextlib
import ctypes
import http.server
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from sglang.nodes import Nodes

try:
    import sitecustomize as sabotage  # of tests/rig/sabotage, where it is in PYTHONPATH

    sabotage = sabotage if hasattr(sabotage, "said") else None
except ImportError:
    sabotage = None


def fault(name, default=None):
    try:
        return json.loads(Path(os.environ["STUB_FAULTS"]).read_text()).get(name, default)
    except (KeyError, OSError, ValueError):
        return default


def log(text, rank=None):
    who = "" if rank is None else f" TP{rank}"
    print(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}{who}] {text}", flush=True)
    if sabotage:
        sabotage.said(text)


def leave(where):
    if fault("exit_at") == where:
        code = fault("exit_code", 1)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)


def hang(where, is_over=lambda: False):
    """Stay here while that is wanted, or until nobody waits any more; whether it is that."""
    while fault("hang_at") == where:
        time.sleep(0.02)
        if is_over():
            return True
    return False


def rank(number, says):
    """A scheduler: it dies with its parent (as SGLang's do), unless it is one that got away.

    `says`: closed when it is what it will be; a real server, too, waits for its ranks.
    """
    escapes = fault("escape")
    if escapes and number == 1 and os.fork():
        os._exit(0)  # before it has a title: no rank dies
    libc = ctypes.CDLL(None)
    libc.prctl(15, f"sglang::TP{number}".encode()[:15], 0, 0, 0)
    if not escapes:
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    elif number == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.setsid()
    os.close(says)
    if escapes and number == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        time.sleep(1)


def start_ranks(count):
    """Their pids, when all are there."""
    there, says = os.pipe()
    pids = []
    for number in range(count):
        if not (pid := os.fork()):
            rank(number, says)
        pids.append(pid)
    os.close(says)
    os.read(there, 1)  # nothing is written: it ends
    os.close(there)
    return pids


# What a profile for GPUs has by itself; none is heeded.
GPUS = (
    "--mem-fraction-static --max-running-requests --chunked-prefill-size --watchdog-timeout".split()
)
UNDER_WAY = []
MOMENTS = [0.0] * 6  # as SGLang sums its steps: steps, requests, us, requests squared, both, tokens
LOCK = threading.Lock()


def decode(tokens):
    """Take as long as so many tokens take, and sum that up."""
    steps = fault("steps", {})
    if not steps:
        return
    count = max(1, round(tokens / steps.get("accepted", 1)))
    time.sleep(count * steps["seconds"])
    with LOCK:
        took = count * steps["seconds"] * 1e6
        for index, more in enumerate((count, count, took, count, took, tokens)):
            MOMENTS[index] += more


def broken(text):
    """An answer with whatever is wrong with it now."""
    if fault("loop"):
        text = f"{text.split()[0]} " * 40
    if fault("digit"):
        last = max((at for at, char in enumerate(text) if char.isdigit()), default=None)
        if last is not None:
            text = f"{text[:last]}{(int(text[last]) + 1) % 10}{text[last + 1 :]}"
    if (start := fault("garbage_from")) is not None:
        text = text[:start] + "\x01" * len(text[start:])
    return "" if fault("swallow") else text


class Handler(http.server.BaseHTTPRequestHandler):
    """The endpoints that glm5-serve asks."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out whole: one that is cut after its head cannot be asked again

    def log_message(self, *_):
        pass

    def answer(self, data, status=200):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        if KEY and self.path != "/health" and self.headers.get("Authorization") != f"Bearer {KEY}":
            self.answer({"error": "Unauthorized"}, 401)
            return False
        return True

    def drip(self):
        self.send_response(200)
        self.send_header("Content-Length", "999999")
        self.end_headers()
        while self.path in fault("drips", []):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)

    def do_GET(self):
        if self.path in fault("drips", []):
            with contextlib.suppress(OSError):
                self.drip()
            self.close_connection = True
            return
        if self.path in ("/health", "/v1/loads"):
            hang(self.path.rpartition("/")[2])
        paused = fault("paused")
        if not self.allowed():
            return
        if NODES.rank:
            self.answer({}, 200 if self.path in ("/health", "/ping") else 404)
            return
        if self.path == "/health" and not NODES.work():
            self.answer({}, 503)
            return
        if self.path == "/v1/loads":
            counted = {"num_running_reqs": len(UNDER_WAY), "num_waiting_reqs": 0}
            counted["moved"] = time.monotonic()
            if steps := fault("steps"):
                counted |= {"decode_moments": MOMENTS, "num_used_tokens": 100 * len(UNDER_WAY)}
                counted |= {"speculative": {}} if "accepted" in steps else {}
            is_told = fault("busy") or steps
            self.answer({"loads": [counted] if is_told else fault("loads", [])})
        elif self.path == "/metrics" and fault("metrics"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(fault("metrics"))))
            self.end_headers()
            self.wfile.write(fault("metrics").encode())
        elif self.path == "/v1/models":
            self.answer({"data": [{"id": KINDS.served_model_name, "object": "model"}]})
        elif self.path in fault("reply", {}):
            self.answer({}, fault("reply")[self.path])
        elif self.path == "/ready":
            self.answer({}, 503 if paused else 200)
        elif self.path == "/health":
            self.answer({}, 503 if paused else fault("health_status", 200))
        else:
            self.answer({})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if not self.allowed():
            return
        if self.path == "/generate":
            hang("generate")
            time.sleep(fault("generate_seconds", 0))
            self.answer({"text": "x", "meta_info": {"completion_tokens": fault("tokens", 1)}})
        else:
            UNDER_WAY.append(self)
            try:
                if hang("chat", self.is_gone):
                    return
                self.chat(body)
            finally:
                UNDER_WAY.remove(self)

    def is_gone(self):
        """Whether its client hung up; SGLang, too, gives up a request then."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def chat(self, body):
        text = broken(fault("answer", said(body["messages"][-1]["content"])))
        thought = broken(fault("thought", "France has a capital."))
        always = fault("always")
        is_cut = body.get("reasoning_effort") != "low" or body["max_tokens"] < 1024
        if always and is_cut:
            text = ""
        if always and not KINDS.reasoning_parser:
            text = f"{thought}</think>{text}"
        slow = "slowly" in body["messages"][-1]["content"] and fault("slowly", {})
        pieces, pause = (["a "] * slow["pieces"], slow["seconds"]) if slow else ((), 0)
        if not body.get("stream"):
            time.sleep(len(pieces) * pause)
            tokens = 16 * len(text) if fault("steps") else len(text.split())
            decode(tokens)
            message = {"role": "assistant", "content": text}
            asked = body.get("chat_template_kwargs", {}).get("enable_thinking")
            if KINDS.reasoning_parser and (asked or always):
                message[fault("reasoning", "reasoning_content")] = thought
                message["content"] = fault("concluded", text)
            if body.get("tools") and (name := fault("tool_call", "get_weather")):
                message["tool_calls"] = [
                    {"function": {"name": name, "arguments": fault("arguments", "{}")}}
                ]
            choice = {"message": message, "finish_reason": fault("finish", "stop")}
            self.answer({"choices": [choice], "usage": {"completion_tokens": tokens}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        text = fault("stream", text)
        for piece in pieces or (text[:2], text[2:]):
            time.sleep(pause)
            chunk = json.dumps({"choices": [{"delta": {"content": piece}}]})
            self.send(f"data: {chunk}\n\n")
        self.send("data: [DONE]\n\n")
        self.send("")

    def send(self, text):
        """A chunk; the last one is empty. Without it whoever reads knows that it was cut."""
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()


def said(question):
    """What a sane model answers."""
    if asked := re.search(r"lines of drawers (\d+) to (\d+)", question):
        first, last = map(int, asked.groups())
        return "\n".join(question.splitlines()[first - 1 : last])
    known = {"capital": "Paris", "17": "42", "days": "Monday, Tuesday, Wednesday, Thursday, Friday"}
    return next((answer for word, answer in known.items() if word in question), "I do not know.")


def key_of(config):
    """The one line that glm5-serve writes: api-key: "..." """
    return Path(config).read_text().split('"')[1] if config else None


def stop(*_):
    if fault("deaf"):
        log("SIGTERM ignored")
        return
    if NODES.rank:
        log("SIGTERM received, waiting for the rank-0 ShutdownReq broadcast")
        return
    log("SIGTERM received. Draining")
    time.sleep(fault("drain", 0))
    os._exit(0)


if __name__ == "__main__":
    if fault("record"):
        Path(fault("record")).write_text(
            json.dumps({"argv": sys.argv[1:], "env": dict(os.environ)})
        )
    parser = argparse.ArgumentParser(prog="sglang serve")
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--device")
    parser.add_argument("--tp-size", type=int, default=1)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--served-model-name")
    parser.add_argument("--nnodes", type=int)
    parser.add_argument("--node-rank", type=int)
    parser.add_argument("--dist-init-addr")
    parser.add_argument("--dist-timeout", type=int, default=300)
    parser.add_argument("--config")
    parser.add_argument("--reasoning-parser")
    parser.add_argument("--tool-call-parser")
    for name in GPUS:
        parser.add_argument(name)
    parser.add_argument("--disable-custom-all-reduce", action="store_true")
    KINDS = arguments = parser.parse_args()
    leave("parse")
    hang("parse")
    KEY = key_of(arguments.config)
    log(
        f"server_args={{'model_path': {arguments.model_path!r}, 'api_key': {KEY!r},"
        " 'admin_api_key': None}"
    )
    NODES = Nodes(argparse.Namespace(nnodes=1, node_rank=arguments.node_rank), log)
    ranks = start_ranks(arguments.tp_size)
    signal.signal(signal.SIGTERM, stop)
    for number in range(len(ranks)):
        log("Init parallel begin.", number)
    NODES = Nodes(arguments, log)
    log("Load weight begin. avail mem=93.80 GB", 0)
    for line in fault("lines", []):
        print(line, flush=True)
    print(
        "Multi-thread loading shards:  50% Completed | 1/2 [00:01<00:01,  1.00it/s]",
        end="\r",
        flush=True,
    )
    for step in range(int(fault("load_seconds", 0) * 10)):
        print(
            f"Multi-thread loading shards:  50% Completed | {step}/900 [00:01<00:01,  1.00it/s]",
            end="\r",
            flush=True,
        )
        time.sleep(0.1)
    hang("load")
    leave("load")
    if os.environ.get("STUB_FAULTS") and (left := fault("die_at_load", 0)):
        Path(os.environ["STUB_FAULTS"]).write_text(json.dumps({"die_at_load": left - 1}))
        os.kill(os.getpid(), signal.SIGKILL)
    log("Load weight end. avail mem=12.10 GB", 0)
    log("KV Cache is allocated. #tokens: 180191, KV size: 5.90 GB", 0)
    if fault("graphs"):
        log("Capture cuda graph begin. This can take up to several minutes. avail mem=5.80 GB", 0)
    server = http.server.ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    log(
        f"INFO:     Uvicorn running on http://{arguments.host}:{arguments.port} (Press CTRL+C to"
        " quit)"
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if not NODES.rank:
        log("The server is fired up and ready to roll!")
    turn = 0
    while True:
        time.sleep(0.02)
        leave("serve")
        turn += 1
        for pid in ranks if turn % 50 == 0 and not fault("escape") else ():  # SGLang's look, too
            if status := os.waitpid(pid, os.WNOHANG)[1]:
                code = os.waitstatus_to_exitcode(status)
                log(f"Subprocess scheduler (pid={pid}) crashed with exit code {code}.")
                os.kill(os.getpid(), signal.SIGKILL)
