# glm5-serve: profile card, sm120, SGLang 0.5.23
NCCL_IB_DISABLE=1 \
  NCCL_P2P_LEVEL=PHB \
  NCCL_ALLOC_P2P_NET_LL_BUFFERS=1 \
  NCCL_MIN_NCHANNELS=8 \
  OMP_NUM_THREADS=8 \
  SAFETENSORS_FAST_GPU=1 \
  python3 -m sglang.launch_server \
  --model lukealonso/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --trust-remote-code \
  --tp 8 \
  --mem-fraction-static 0.95 \
  --max-running-requests 8 \
  --kv-cache-dtype fp8_e4m3 \
  --quantization modelopt_fp4 \
  --attention-backend flashinfer \
  --moe-runner-backend flashinfer_cutlass \
  --disable-custom-all-reduce \
  --enable-flashinfer-allreduce-fusion \
  --host 0.0.0.0 \
  --port 8000
