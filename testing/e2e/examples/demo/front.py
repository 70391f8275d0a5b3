"""The shop's front: counts visitors in Redis, writes sales to PostgreSQL, over their own protocols."""

import json
import os
import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def redis(*words):
    """One command (RESP 2): numbers and simple strings are all that is asked for here."""
    with socket.create_connection((os.environ["REDIS"], 6379), timeout=5) as peer:
        text = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        peer.sendall(f"*{len(words)}\r\n{text}".encode())
        return peer.makefile("rb").readline()[1:].strip().decode()


def message(file):
    """One message of PostgreSQL's protocol 3: its kind, and its body."""
    kind, length = struct.unpack("!cI", file.read(5))
    return kind, file.read(length - 4)


def first_column(body):
    """The first column of a DataRow, as text."""
    length = struct.unpack("!i", body[2:6])[0]
    return body[6 : 6 + length].decode()


def postgres(query):
    """The first column of each row; the server trusts whoever reaches it."""
    with socket.create_connection((os.environ["POSTGRES"], 5432), timeout=5) as peer:
        start = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
        peer.sendall(struct.pack("!I", len(start) + 4) + start)
        rows, asked, file = [], False, peer.makefile("rb")
        while True:
            kind, body = message(file)
            if kind == b"E":
                raise RuntimeError(body.replace(b"\0", b" ").decode())
            if kind == b"D":
                rows.append(first_column(body))
            if kind == b"Z":
                if asked:
                    return rows
                text = query.encode() + b"\0"
                peer.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)
                asked = True


class Front(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/buy/"):
            fish = "".join(letter for letter in self.path[5:] if letter.isalpha())
            postgres(f"INSERT INTO sales (fish) VALUES ('{fish}')")
            redis("INCR", "visitors")
        answer = {
            "visitors": int(redis("INCRBY", "visitors", "0")),
            "sold": int(postgres("SELECT count(*) FROM sales")[0]),
            "latest": (postgres("SELECT fish FROM sales ORDER BY id DESC LIMIT 1") or [None])[0],
        }
        body = (json.dumps(answer) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


postgres("CREATE TABLE IF NOT EXISTS sales (id serial PRIMARY KEY, fish text)")
ThreadingHTTPServer(("", 8080), Front).serve_forever()
