"""A server with children that do everything to survive; prints `up` when all are there.

usage: hostile.py stay | leave     whether the server itself stays, or leaves its children behind
"""

import os
import signal
import subprocess
import sys
import time

SLEEP = "import time; time.sleep(3600)"
# A few hundred at any time, however long a starved machine takes to come and kill them.
FORK = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    time.sleep(0.01)
"""
CHILDREN = {
    "plain": SLEEP,
    "deaf": f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}",
    "own session": f"import os; os.setsid(); {SLEEP}",
    "stopped": f"import os, signal; os.kill(os.getpid(), signal.SIGSTOP); {SLEEP}",
    "forking": FORK,
}

for code in CHILDREN.values():
    subprocess.Popen([sys.executable, "-c", code])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(0.3)
print("up", flush=True)
if sys.argv[1] == "stay":
    time.sleep(3600)
os._exit(3)
