"""How gunicorn runs. It reads this file from the directory in which it starts.

It listens on 127.0.0.1:8000, or on PORT of all addresses if the environment has one.
"""

from __future__ import annotations

import os

workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
#: Seconds for the requests in progress when it stops.
graceful_timeout = 30
#: It touches files there all the time, which a disk would delay.
worker_tmp_dir = "/dev/shm"
#: It would be a file, and the file system is read-only.
control_socket_disable = True
