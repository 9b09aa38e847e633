"""A stand-in for SGLang: with this folder in PYTHONPATH, `python -m sglang.launch_server` runs the
stub.
"""
