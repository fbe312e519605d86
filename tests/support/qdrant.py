"""Qdrant's REST interface as its makers' own Python client knows it, for the tests.

Methods, paths, parameters, bodies and answers are checked against the client's generated code, which its makers derive
from Qdrant's OpenAPI document: what does not stand there is refused. What becomes of the collections is up to the
client's "local mode", which answers searches in memory. So this shows that our questions are well formed and mean what
we take them to mean; how the real server behaves under load or while it optimises it cannot show.

Says its address on the first line, and ends with its standard input.
"""

import http.server
import importlib.metadata
import inspect
import json
import os
import re
import sys
import threading
import urllib.parse

from pydantic import TypeAdapter, ValidationError
from qdrant_client.http import models
from qdrant_client.http.api_client import SyncApis
from qdrant_client.local.qdrant_local import QdrantLocal

KEY = os.environ["QDRANT_KEY"]
OPEN = ("root", "readyz")
VERSION = importlib.metadata.version("qdrant-client")


class Refused(Exception):
    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Recorder:
    """Stands where the client's HTTP would be: what the generated code builds comes back."""

    def request(self, **built):
        return built


APIS = [api for api in vars(SyncApis(host="")).values() if hasattr(api, "api_client")]
for api in APIS:
    api.api_client = Recorder()


class Operation:
    def __init__(self, name):
        build = next(getattr(api, "_build_for_" + name) for api in APIS if hasattr(api, "_build_for_" + name))
        parameters = list(inspect.signature(build).parameters.values())
        given = {p.name: "x" for p in parameters if p.default is inspect.Parameter.empty}
        built = build(**given)
        self.name = name
        self.method = built["method"]
        self.pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", built["url"]) + "$")
        self.answer = TypeAdapter(built["type_"])
        rest = [p for p in parameters if p.name not in given]
        body = rest.pop() if "content" in built or "data" in built else None
        self.body = body and TypeAdapter(body.annotation)
        self.query = {p.name: TypeAdapter(p.annotation) for p in rest}

    def read(self, query, body):
        for name, value in query:
            if name not in self.query:
                raise Refused(400, f"{self.name} has no parameter {name}")
            self.query[name].validate_python(value)
        if (self.body is None) != (body == b""):
            raise Refused(400, f"{self.name}: a body is there or missing")
        return self.body and self.body.validate_json(body, strict=True)


NAMES = """
    root readyz
    get_collections get_collection collection_exists create_collection delete_collection
    upsert_points query_points delete_points
"""
OPERATIONS = [Operation(name) for name in NAMES.split()]


class Store:
    def __init__(self):
        self.local = QdrantLocal(":memory:", force_disable_check_same_thread=True)
        self.lock = threading.Lock()

    def do(self, name, collection, body):
        with self.lock:
            exists = collection is not None and self.local.collection_exists(collection)
            if name == "create_collection" and exists:
                raise Refused(409, f"Wrong input: Collection `{collection}` already exists!")
            may_be_absent = ("create_collection", "delete_collection", "collection_exists")
            if collection is not None and not exists and name not in may_be_absent:
                raise Refused(404, f"Not found: Collection `{collection}` doesn't exist!")
            return getattr(self, name)(collection, body)

    def get_collections(self, _collection, _body):
        return self.local.get_collections()

    def get_collection(self, collection, _body):
        return self.local.get_collection(collection)

    def collection_exists(self, collection, _body):
        return {"exists": self.local.collection_exists(collection)}

    def create_collection(self, collection, body):
        return self.local.create_collection(collection, vectors_config=body.vectors)

    def delete_collection(self, collection, _body):
        existed = self.local.collection_exists(collection)
        self.local.delete_collection(collection)
        return existed

    def upsert_points(self, collection, body):
        return self.local.upsert(collection, points=body.points)

    def delete_points(self, collection, body):
        # The server passes over ids that it does not have; local mode fails on them.
        known = [record.id for record in self.local.retrieve(collection, ids=body.points)]
        return self.local.delete(collection, points_selector=known)

    def query_points(self, collection, body):
        return self.local.query_points(
            collection,
            query=body.query,
            query_filter=body.filter,
            limit=body.limit,
            with_payload=body.with_payload,
            with_vectors=body.with_vector or False,
        )


STORE = Store()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        try:
            status, kind, answer = 200, "application/json", self.answer_to()
            if isinstance(answer, str):
                kind = "text/plain"
            else:
                answer = answer.model_dump_json(exclude_none=True)
        except Refused as refused:
            status, kind = refused.status, "application/json"
            answer = json.dumps({"status": {"error": str(refused)}, "time": 0.0})
            if status == 401:
                kind, answer = "text/plain", str(refused)
        content = answer.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def answer_to(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        fitting = [(one, found) for one in OPERATIONS if (found := one.pattern.match(url.path))]
        fitting = [(one, found) for one, found in fitting if one.method == self.command]
        if not fitting:
            raise Refused(404, f"no operation {self.command} {self.path}")
        operation, found = fitting[0]
        if operation.name not in OPEN and self.headers.get("api-key") != KEY:
            raise Refused(401, "Invalid API key or JWT")
        if body and self.headers.get("Content-Type") != "application/json":
            raise Refused(415, "the body is not announced as JSON")
        collection = found.groupdict().get("collection_name")
        collection = collection and urllib.parse.unquote(collection)
        try:
            body = operation.read(urllib.parse.parse_qsl(url.query, keep_blank_values=True), body)
        except ValidationError as error:
            raise Refused(400, f"Format error in JSON body: {error.errors()[0]['msg']}")
        if operation.name == "readyz":
            return "all shards are ready"
        if operation.name == "root":
            return models.VersionInfo(title="qdrant - vector search engine", version=VERSION)
        try:
            result = STORE.do(operation.name, collection, body)
        # So local mode puts vectors of another size.
        except (AssertionError, ValueError) as error:
            raise Refused(400, f"Wrong input: {error}")
        if hasattr(result, "model_dump"):
            result = result.model_dump()
        return operation.answer.validate_python({"time": 0.001, "status": "ok", "result": result})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        # Clients that hang up are no matter.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
