"""A server on the loopback interface that writes whatever a test wants, byte by byte, onto the wire."""

import contextlib
import hashlib
import re
import socket
import socketserver
import ssl
import struct
import threading

import numpy as np

from minidl.datasets import download

CONTENT = np.random.default_rng(3).bytes(100_000)
SIZE = len(CONTENT)


class Wire:
    """One request, and the way back to who asked: `start` is the first byte of the file that the request wants."""

    def __init__(self, connection, path, headers, port):
        self.connection, self.path, self.headers, self.port = connection, path, headers, port
        asked = re.search(r"^range: bytes=(\d+)-", headers, re.MULTILINE | re.IGNORECASE)
        self.start = int(asked[1]) if asked else 0

    def write(self, content):
        self.connection.sendall(content)

    def head(self, status="200 OK", *lines):
        self.write("\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode("latin-1"))

    def say(self, status="200 OK", body=b"", *lines, length=None):
        self.head(status, f"Content-Length: {len(body) if length is None else length}", *lines)
        self.write(body)

    def send_file(self, content=CONTENT, *lines):
        """The file, or what a Range asks of it, as a good server sends it."""
        if self.start >= len(content):
            self.say("416 Range Not Satisfiable", b"", f"Content-Range: bytes */{len(content)}")
        elif self.start:
            self.say("206 Partial Content", content[self.start:],
                     f"Content-Range: bytes {self.start}-{len(content) - 1}/{len(content)}", *lines)
        else:
            self.say("200 OK", content, *lines)

    def begin_file(self):
        """The head of a good answer; returns the bytes that should follow."""
        if self.start:
            self.head("206 Partial Content", f"Content-Length: {SIZE - self.start}",
                      f"Content-Range: bytes {self.start}-{SIZE - 1}/{SIZE}")
        else:
            self.head("200 OK", f"Content-Length: {SIZE}")
        return CONTENT[self.start:]

    def reset(self):
        """End with RST, as a crashed server or a firewall does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        server, request = self.server, b""
        while b"\r\n\r\n" not in request:
            block = self.request.recv(1 << 16)
            if not block:
                return
            request += block
        head = request.decode("latin-1")
        path = head.split(" ", 2)[1]
        wire = Wire(self.request, path, head, server.server_address[1])
        with server.lock:
            server.asked.append((path, wire.start))
            answers = server.answers.get(re.sub(r"(/good|\?.*)$", "", path)) or [lambda wire: wire.say("404 Not Found")]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with contextlib.suppress(OSError):  # who asked has left
            answer(wire)


class Server(socketserver.ThreadingTCPServer):
    """answers: {path: [one function of a Wire for each request in turn; the last one serves for all that follow]}"""

    daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.lock, self.tls = {}, [], threading.Lock(), tls
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.server_address[1]}"

    def get_request(self):
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, request, address):  # a client that refuses our certificate is no error of the test
        pass

    def remote(self, *mirrors, content=CONTENT, name="file.bin"):
        """A published file with one mirror for each answer, or list of answers in turn."""
        for number, answers in enumerate(mirrors):
            self.answers[f"/{number}/{name}"] = list(answers) if isinstance(answers, (list, tuple)) else [answers]
        urls = tuple(f"{self.url}/{number}/{name}" for number in range(len(mirrors)))
        return download.RemoteFile(name, len(content), hashlib.sha256(content).hexdigest(), urls)


@contextlib.contextmanager
def serving(tls=None):
    """A running Server, stopped at the end. tls: (certificate, key), two paths"""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    with Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
