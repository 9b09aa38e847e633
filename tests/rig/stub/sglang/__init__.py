"""A stand-in for SGLang: with this folder in PYTHONPATH, `python -m sglang.launch_server` runs the
stub.
"""

import sys

sys.modules["ssl"] = None  # http.client does without: a sixth of what a start takes
