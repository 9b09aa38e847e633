# glm5-serve: profile 8xb200-vllm, sm100, vLLM 0.32.0
# note: unverified: read in the source of vLLM 0.33.0, not run here; vLLM's recipes say it was run on B200
VLLM_ENGINE_READY_TIMEOUT_S=5400 \
  VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS=15 \
  VLLM_NO_USAGE_STATS=1 \
  NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m vllm.entrypoints.cli.main serve \
  nvidia/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tensor-parallel-size 8 \
  --max-model-len 202752 \
  --host 127.0.0.1 \
  --port 8000 \
  --kv-cache-dtype fp8 \
  --gpu-memory-utilization 0.92 \
  --max-num-batched-tokens 16384 \
  --speculative-config '{"method": "mtp", "num_speculative_tokens": 1}' \
  --max-num-seqs 64 \
  --enable-auto-tool-choice \
  --shutdown-timeout 100
