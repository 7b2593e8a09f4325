"""An S3 server on this machine with one empty bucket, and a way to make its uploads fail."""

import logging
import os
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "bucket"


@contextmanager
def local_s3():
    """Serve S3 and point this process and those it starts at it; yield the URL of the server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        client().create_bucket(Bucket=BUCKET)
        yield endpoint
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
