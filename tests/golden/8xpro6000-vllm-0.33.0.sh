# glm5-serve: profile 8xpro6000-vllm, sm120, vLLM 0.33.0
# note: unverified: read in the source of vLLM 0.33.0, not run: runs of released vLLM on these GPUs that are published are of 0.25 and another checkpoint
VLLM_ENGINE_READY_TIMEOUT_S=5400 \
  VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS=15 \
  VLLM_NO_USAGE_STATS=1 \
  NCCL_P2P_LEVEL=SYS \
  NCCL_MIN_NCHANNELS=8 \
  NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m vllm.entrypoints.cli.main serve \
  lukealonso/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tensor-parallel-size 8 \
  --max-model-len 131072 \
  --host 127.0.0.1 \
  --port 8000 \
  --kv-cache-dtype fp8 \
  --gpu-memory-utilization 0.92 \
  --max-num-batched-tokens 8192 \
  --max-num-seqs 16 \
  --disable-custom-all-reduce \
  --enable-auto-tool-choice \
  --shutdown-timeout 100
