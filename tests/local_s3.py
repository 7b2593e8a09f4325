"""An S3 server on this machine with one empty bucket, which fails on demand."""

import logging
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.request import Request, urlopen

import boto3
import fsspec
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "bucket"
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",  # botocore's own repetitions take seconds
}
ERRORS = {403: "AccessDenied", 404: "NoSuchUpload", 500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}


@dataclass
class Fault:
    """What happens to some requests."""

    request: str
    """Pattern of the method and the path with the query, such as "PUT .*partNumber=2&"."""
    status: int
    times: int
    """How often; requests after that are served."""
    seen: int = 0
    held: threading.Event | None = None
    """Where given, the request waits for it."""
    met: threading.Event = field(default_factory=threading.Event)
    """Set once a request has been struck."""


class FaultyServer:
    """A WSGI application in front of the S3 server."""

    def __init__(self):
        self.served = DomainDispatcherApplication(create_backend_app)
        self.faults = []
        self.requests = []
        self._lock = threading.Lock()

    def fail(self, request, *, status=500, times=1, held=None):
        """Answer the next `times` requests that fit with an error."""
        self.faults.append(Fault(request, status, times, held=held))
        return self.faults[-1]

    def __call__(self, environ, start_response):
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}&"
        fault = self._struck(request)
        if fault is None:
            return self.served(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        fault.met.set()
        if fault.held is not None:
            fault.held.wait(60)
        body = f"<Error><Code>{ERRORS[fault.status]}</Code><Message>injected</Message></Error>".encode()
        start_response(f"{fault.status} Failed", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _struck(self, request):
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.seen < fault.times and re.match(fault.request, request):
                    fault.seen += 1
                    return fault
        return None


@contextmanager
def local_s3():
    """Serve S3, point this process and those it starts at it, and yield the `FaultyServer`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = FaultyServer()
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = SETTINGS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # they know the last server
    try:
        _forget_everything()
        client().create_bucket(Bucket=BUCKET)
        yield application
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _forget_everything():
    """Empty the S3 of this process: all its servers serve the same one."""
    urlopen(Request(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()


def client():
    """Return boto3's own way to the server, beside fsspec's."""
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def keys(prefix=""):
    """Return the keys of all objects below a prefix."""
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def unfinished_uploads():
    """Return the keys of multipart uploads that were neither completed nor aborted."""
    return [upload["Key"] for upload in client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]
