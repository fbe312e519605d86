"""moto's S3 server on a free port. Prints its URL and ends when its standard input closes."""

import logging
import sys

from moto.moto_server.threaded_moto_server import ThreadedMotoServer

# Every request would be logged.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.read()
server.stop()
