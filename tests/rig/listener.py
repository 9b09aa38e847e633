"""A process that holds a port and answers as badly as it is told; what it was sent, it writes down.

usage: listener.py HOST PORT KIND HEARD [UID]

KIND is one of KINDS below. HEARD is a file that gets every byte that anybody sends. UID: become
that user before the port is bound; "closed" after it: may not be looked at, but by root. Prints the
port when it listens; PORT 0 takes a free one. KIND may have "shared-" (SO_REUSEPORT) or "alone-"
(IPv6 alone) before it.
"""

import ctypes
import os
import socket
import sys
import threading
import time

TOKEN = b'{"text": "x", "meta_info": {"completion_tokens": 1}}'
SANE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TOKEN), TOKEN)


def with_body(body, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def forever(start, piece, pause=0.0):
    yield start
    while True:
        yield piece
        time.sleep(pause)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
KINDS = {
    "sane": lambda: [SANE],
    "silent": list,
    "closes": lambda: [None],
    # Never ends, one way or another.
    "chunks": lambda: forever(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "body": lambda: forever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    "events": lambda: forever(CHUNKED, b"e\r\ndata: {}      \r\n" * 999),
    "continue": lambda: forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    "continue headers": lambda: forever(b"HTTP/1.1 100 Continue\r\n", b"a: b\r\n" * 999),
    "status": lambda: forever(b"HTTP/1.1 ", b"2" * 65536),
    "header": lambda: forever(b"HTTP/1.1 200 OK\r\na: ", b"b" * 65536),
    "headers": lambda: forever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 9999),
    "long headers": lambda: [
        b"HTTP/1.1 200 OK\r\n" + (b"a: " + b"b" * 65000 + b"\r\n") * 99 + b"\r\n"
    ],
    "chunk extension": lambda: forever(CHUNKED + b"1;", b"x" * 65536),
    "trailers": lambda: forever(CHUNKED + b"0\r\n", b"a: b\r\n" * 999),
    # Promises more than anybody has memory for.
    "terabyte": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\nx"],
    "too much": lambda: [with_body(b"x" * (2 << 20))],
    # Goes on for ever, slowly.
    "drip": lambda: forever(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x", 0.05),
    "drip of chunks": lambda: forever(CHUNKED, b"1\r\nx\r\n", 0.05),
    "drip of headers": lambda: forever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.05),
    "drip of continue": lambda: forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "terabyte chunk": lambda: [CHUNKED + b"ffffffffff\r\nx"],
    # Is no answer.
    "cut": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{", None],
    "cut chunks": lambda: [CHUNKED + b"10\r\n{", None],
    "cut header": lambda: [b"HTTP/1.1 200 OK\r\nConte", None],
    "no http": lambda: [b"SSH-2.0-OpenSSH_9.2\r\n", None],
    "no chunks": lambda: [CHUNKED + b"zz\r\n", None],
    "redirect": lambda: [
        b"HTTP/1.1 307 Temporary\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    ],
    "deep": lambda: [with_body(b"[" * 500_000)],
    "deep objects": lambda: [with_body(b'{"a":' * 100_000)],
    "digits": lambda: [with_body(b"9" * 500_000)],
    "infinite": lambda: [with_body(b'{"meta_info": {"completion_tokens": Infinity}}')],
    "true": lambda: [with_body(b'{"meta_info": {"completion_tokens": true}}')],
    "list": lambda: [with_body(b"[1, 2]")],
    "null": lambda: [with_body(b"null")],
    "bytes": lambda: [with_body(bytes(range(256)))],
    "nothing": lambda: [with_body(b"")],
}


def serve(connection, kind, heard):
    threading.Thread(target=listen, args=(connection, heard), daemon=True).start()
    try:
        for piece in KINDS[kind]():
            if piece is None:
                connection.shutdown(socket.SHUT_RDWR)
            else:
                connection.sendall(piece)
    except OSError:
        return


def listen(connection, heard):
    while True:
        try:
            data = connection.recv(65536)
        except OSError:
            return
        if not data:
            return
        os.write(heard, data)


def main():
    host, port, kind, path, *uid = sys.argv[1:]
    heard = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if uid and uid[0] != "-":
        os.setgroups([])
        os.setresgid(*[int(uid[0])] * 3)
        os.setresuid(*[int(uid[0])] * 3)
    if "closed" in uid:
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: nobody but root may look at it
    elif uid:
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    how, dash, rest = kind.partition("-")
    kind = rest if dash else kind
    if how == "shared":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if ":" in host:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, how == "alone")
    end = time.monotonic() + 60
    while True:  # whoever wants a port as soon as it is free
        try:
            made.bind((host, int(port)))
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)
    made.listen(64)
    print(made.getsockname()[1], flush=True)
    while True:
        connection, _ = made.accept()
        threading.Thread(target=serve, args=(connection, kind, heard), daemon=True).start()


if __name__ == "__main__":
    main()
