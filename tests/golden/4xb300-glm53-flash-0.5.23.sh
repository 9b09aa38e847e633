# glm5-serve: profile 4xb300-glm53-flash, sm103, SGLang 0.5.23
NCCL_IB_DISABLE=1 \
  OMP_NUM_THREADS=8 \
  python3 -m sglang.launch_server \
  --model-path RadixArk/GLM-5.3-Flash-NVFP4 \
  --served-model-name glm-5.3-flash \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --tp-size 4 \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 8000 \
  --context-length 524288 \
  --quantization modelopt_fp4 \
  --mem-fraction-static 0.85 \
  --speculative-algorithm EAGLE \
  --speculative-num-steps 5 \
  --speculative-eagle-topk 1 \
  --max-running-requests 64 \
  --speculative-num-draft-tokens 6 \
  --watchdog-timeout 1800 \
  --kv-cache-dtype fp8_e4m3 \
  --dsa-prefill-backend trtllm \
  --dsa-decode-backend trtllm \
  --moe-runner-backend flashinfer_cutlass
