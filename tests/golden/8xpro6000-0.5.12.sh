# glm5-serve: profile 8xpro6000, sm120, SGLang 0.5.12
SGLANG_ENABLE_JIT_DEEPGEMM=0 \
  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True \
  NCCL_P2P_LEVEL=SYS \
  NCCL_MIN_NCHANNELS=8 \
  NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m sglang.launch_server \
  --model-path lukealonso/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tp-size 8 \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 8000 \
  --quantization modelopt_fp4 \
  --kv-cache-dtype bfloat16 \
  --attention-backend flashinfer \
  --moe-runner-backend flashinfer_cutlass \
  --fp4-gemm-backend flashinfer_cutlass \
  --disable-shared-experts-fusion \
  --disable-custom-all-reduce \
  --mem-fraction-static 0.88 \
  --max-running-requests 16 \
  --chunked-prefill-size 8192 \
  --cuda-graph-max-bs 16 \
  --watchdog-timeout 1800
