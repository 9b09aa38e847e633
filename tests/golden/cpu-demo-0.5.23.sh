# glm5-serve: profile cpu-demo, SGLang 0.5.23
PATH=/home/user/.cache/glm5-serve/cpu-demo/engine/bin:"$PATH" \
  SGLANG_USE_CPU_ENGINE=1 \
  OMP_NUM_THREADS=1 \
  /home/user/.cache/glm5-serve/cpu-demo/engine/bin/python -m sglang.launch_server \
  --model-path /home/user/.cache/glm5-serve/cpu-demo/model \
  --served-model-name tiny \
  --device cpu \
  --dtype bfloat16 \
  --attention-backend torch_native \
  --mem-fraction-static 0.1 \
  --max-total-tokens 8192 \
  --sleep-on-idle \
  --enable-metrics \
  --host 127.0.0.1 \
  --port 30100
