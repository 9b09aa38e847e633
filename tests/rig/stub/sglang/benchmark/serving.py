"""A stand-in for SGLang's load generator: it asks the server, one request after the other, and
writes what the real one does, the server's key in it.

Faults come from `bench` in $STUB_FAULTS:

    how: "dies"      ends with status 1 after half of the requests, and no result
         "hangs"     never ends, and ignores SIGTERM; a child of its own does, too
         "cut"       the result is cut short, as on a full disk, and status 0
         "refused"   every request failed, and status 0
         "empty"     the text of one answer is left out
         "loop"      one answer says the same again and again
         "asked"     counts the tokens that were asked for
         "swapped"   tells each answer as that of the question before
         "hours"     tells of a round that took hours
         "slow"      waits before it begins
    pid: path        writes its process id there
    after: path      waits until that is there, a minute at most
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

parser = argparse.ArgumentParser()
for name in (
    "backend base-url dataset-name dataset-path num-prompts max-concurrency warmup-requests model"
    " tokenizer served-model-name output-file"
).split():
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--output-details", action="store_true")
parser.add_argument("--disable-tqdm", action="store_true")
args = parser.parse_args()
try:
    faults = json.loads(Path(os.environ["STUB_FAULTS"]).read_text()).get("bench", {})
except (KeyError, OSError, ValueError):
    faults = {}
how = faults.get("how", "")
key = os.environ.get("OPENAI_API_KEY")
if "pid" in faults:
    Path(faults["pid"]).write_text(str(os.getpid()))
ends = time.monotonic() + 60
while "after" in faults and not Path(faults["after"]).exists() and time.monotonic() < ends:
    time.sleep(0.05)
if how == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)
if how == "slow":
    time.sleep(600)


def asked(body):
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    sent = {**body, "stream": False, "model": args.served_model_name}
    request = urllib.request.Request(
        f"{args.base_url}/v1/chat/completions", json.dumps(sent).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.load(answer)
    return told["choices"][0]["message"]["content"], told["usage"]["completion_tokens"]


rows = [json.loads(line) for line in Path(args.dataset_path).read_text().splitlines()]
assert len(rows) == int(args.num_prompts)
told = {name: [] for name in "input_lens output_lens ttfts itls generated_texts errors".split()}
began = time.monotonic()
for number, row in enumerate(rows):
    if how == "dies" and number == len(rows) // 2:
        sys.exit(f"RuntimeError: half way, with {key}")
    sent = time.monotonic()
    try:
        text, tokens = ("", row["max_tokens"]) if how == "refused" else asked(row)
        error = f"Unauthorized: bad key {key}" if how == "refused" else ""
    except OSError as failure:
        text, tokens, error = "", row["max_tokens"], f"{failure}"
    if number == 0 and how == "empty":
        text = ""
    if number == 0 and how == "loop":
        text = "and so it was that he went home and " * 20
    told["input_lens"].append(len(row["messages"][0]["content"].split()))
    told["output_lens"].append(row["max_tokens"] if how == "asked" else tokens)
    took = time.monotonic() - sent
    told["ttfts"].append(0.0 if how == "refused" else took / 2)
    told["itls"].append([took / 2 / max(tokens - 1, 1)] * (tokens - 1))
    told["generated_texts"].append(text)
    told["errors"].append(error)
result = {"duration": max(time.monotonic() - began, 0.01), "completed": len(rows), **told}
if how == "swapped":
    result["generated_texts"] = told["generated_texts"][1:] + told["generated_texts"][:1]
if how == "hours":
    result["duration"] = 1e4
result["server_info"] = {"api_key": key, "launch_command": f"--api-key {key}"}
line = json.dumps(result) + "\n"
with Path(args.output_file).open("a") as file:
    file.write(line[: len(line) // 2] if how == "cut" else line)
print("Serving Benchmark Result", args)
