# glm5-serve: profile 8xpro6000
NCCL_IB_DISABLE=1 \
  NCCL_P2P_LEVEL=SYS \
  NCCL_MIN_NCHANNELS=8 \
  OMP_NUM_THREADS=8 \
  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True \
  python3 -m sglang.launch_server \
  --model-path lukealonso/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tp-size 8 \
  --quantization modelopt_fp4 \
  --kv-cache-dtype fp8_e4m3 \
  --dsa-prefill-backend flashinfer_sparse_mla \
  --dsa-decode-backend flashinfer_sparse_mla \
  --moe-runner-backend flashinfer_cutlass \
  --fp4-gemm-backend flashinfer_cutlass \
  --disable-shared-experts-fusion \
  --disable-custom-all-reduce \
  --mem-fraction-static 0.88 \
  --max-running-requests 8 \
  --chunked-prefill-size 8192 \
  --watchdog-timeout 1800 \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 8000
