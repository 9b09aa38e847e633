#!/bin/sh
# NVSentinel's contract of a preflight check: 0 passed, 1 failed, 2 could not be made. Engine, model
# and limits are those of the pod's own containers, not of this one. What cannot be seen in it (the
# kernel's log, configuration space) is unknown, and does not fail.
glm5-serve doctor --skip engine-python --skip engine-installed --skip model-folder --skip model-config \
    --skip shared-memory --skip memory-limit "$@"
case $? in
0) exit 0 ;;
1) [ "$PROCESSING_STRATEGY" = STORE_ONLY ] || exit 1 ;; # told in the log, and blocks nobody
*) exit 2 ;;
esac
