# glm5-serve: profile 4xpro6000-glm53-flash, sm120, SGLang 0.5.23
# note: unverified: nobody published a run of a release of SGLang with GLM-5.3-Flash on SM120; vLLM >= 0.32 is the measured way there
SGLANG_ENABLE_PCIE_IPC_ALLREDUCE=1 \
  SGLANG_OPT_DEEPGEMM_HC_PRENORM=0 \
  SGLANG_OPT_USE_TOPK_V2=0 \
  NCCL_P2P_LEVEL=SYS \
  NCCL_MIN_NCHANNELS=8 \
  NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m sglang.launch_server \
  --model-path nvidia/GLM-5.3-Flash-NVFP4 \
  --served-model-name glm-5.3-flash \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tp-size 4 \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 8000 \
  --max-running-requests 16 \
  --max-mamba-cache-size 160 \
  --mamba-ssm-dtype bfloat16 \
  --context-length 524288 \
  --quantization modelopt_fp4 \
  --moe-runner-backend flashinfer_cutlass \
  --fp4-gemm-backend flashinfer_cutlass \
  --disable-custom-all-reduce \
  --mem-fraction-static 0.85 \
  --chunked-prefill-size 8192 \
  --watchdog-timeout 1800 \
  --kv-cache-dtype fp8_e4m3 \
  --dsa-prefill-backend tilelang \
  --dsa-decode-backend tilelang \
  --linear-attn-backend triton
