from __future__ import annotations

import functools
import http.server
import threading

import pytest


@pytest.fixture
def serve():
    """Returns a function that starts a web server with the files of a folder.

    The server has the attributes `url` and `requests`, the paths that were requested.
    """
    started = []

    def start(folder):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                requests.append(self.path)

        requests = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        server.requests, server.url = requests, f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()
