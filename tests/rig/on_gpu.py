"""A program on the first GPU, by the driver's library alone: neither a compiler nor torch.

usage: on_gpu.py hold BYTES SECONDS    holds so much memory
       on_gpu.py burn SECONDS          keeps every unit at work
       on_gpu.py fault                 writes to an address that is not its own: the driver tells an Xid

It prints "at it" when it does.
"""

from __future__ import annotations

import ctypes
import sys
import time

PTX = b"""
.version 6.4
.target sm_75
.address_size 64
.visible .entry burn(.param .u64 rounds) {
    .reg .f32 %f<5>;
    .reg .u64 %r<3>;
    .reg .pred %p<3>;
    ld.param.u64 %r0, [rounds];
    mov.u64 %r1, 0;
    mov.f32 %f0, 0f3F800001;
    mov.f32 %f1, 0f3F7FFFFE;
    mov.f32 %f2, 0f3F800002;
    mov.f32 %f3, 0f3F7FFFFD;
    mov.f32 %f4, 0f3F7FFFFF;
again:
    fma.rn.f32 %f0, %f0, %f4, %f1;
    fma.rn.f32 %f1, %f1, %f4, %f2;
    fma.rn.f32 %f2, %f2, %f4, %f3;
    fma.rn.f32 %f3, %f3, %f4, %f0;
    add.u64 %r1, %r1, 1;
    setp.lt.u64 %p0, %r1, %r0;
    @%p0 bra again;
    setp.eq.f32 %p1, %f0, 0f00000000;
    mov.u64 %r2, 16;
    @%p1 st.global.f32 [%r2], %f3;
    ret;
}
.visible .entry fault() {
    .reg .u64 %r<1>;
    .reg .u32 %n<1>;
    mov.u64 %r0, 16;
    mov.u32 %n0, 7;
    st.global.u32 [%r0], %n0;
    ret;
}
"""
ROUNDS, BLOCKS, THREADS = 200_000, 2048, 256

cuda = ctypes.CDLL("libcuda.so.1")


def call(name: str, *words: object) -> None:
    """One call of the driver; exits with what it answered where that is no success."""
    if status := getattr(cuda, name)(*words):
        said = ctypes.c_char_p()
        cuda.cuGetErrorName(status, ctypes.byref(said))
        sys.exit(f"{name}: {(said.value or b'').decode()} ({status})")


def launch(kernel: ctypes.c_void_p, blocks: int, threads: int, *words: ctypes.c_uint64) -> None:
    given = (ctypes.c_void_p * max(len(words), 1))(
        *(ctypes.cast(ctypes.byref(word), ctypes.c_void_p) for word in words)
    )
    call("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, None, given, None)


def main(what: str, *words: str) -> None:
    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    if what == "hold":
        held = ctypes.c_uint64()
        call("cuMemAlloc_v2", ctypes.byref(held), ctypes.c_size_t(int(words[0])))
        print("at it", flush=True)
        time.sleep(float(words[1]))
        return
    module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuModuleLoadData", ctypes.byref(module), PTX)
    call("cuModuleGetFunction", ctypes.byref(kernel), module, what.encode())
    print("at it", flush=True)
    if what == "fault":
        launch(kernel, 1, 1)
        call("cuCtxSynchronize")
    end = time.monotonic() + float(words[0])
    while time.monotonic() < end:
        launch(kernel, BLOCKS, THREADS, ctypes.c_uint64(ROUNDS))
        call("cuCtxSynchronize")


if __name__ == "__main__":
    main(*sys.argv[1:])
