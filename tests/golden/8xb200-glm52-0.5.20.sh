# glm5-serve: profile 8xb200-glm52, sm100, SGLang 0.5.20
NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m sglang.launch_server \
  --model-path nvidia/GLM-5.2-NVFP4 \
  --served-model-name glm-5.2 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tp-size 8 \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 8000 \
  --context-length 262144 \
  --quantization modelopt_fp4 \
  --kv-cache-dtype fp8_e4m3 \
  --dsa-prefill-backend trtllm \
  --dsa-decode-backend trtllm \
  --moe-runner-backend flashinfer_cutlass \
  --mem-fraction-static 0.85 \
  --enable-dp-attention \
  --dp-size 8 \
  --speculative-algorithm EAGLE \
  --speculative-num-steps 2 \
  --speculative-eagle-topk 1 \
  --max-running-requests 256 \
  --chunked-prefill-size 32768 \
  --cuda-graph-max-bs-decode 32 \
  --speculative-num-draft-tokens 3 \
  --watchdog-timeout 1800
