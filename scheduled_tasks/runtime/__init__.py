"""What a handler uses while it runs, and the plain values that go in and out of a run.

A ``Run`` goes in, ``messages`` and an ``Outcome`` or ``Loss`` come out; all are plain values that
cross threads and pipes. The code here runs in the thread or process of the handler, knows neither
executors nor models, and reaches the worker only through a ``Recorder``.

Read ``runs`` and ``messages`` first, then ``context``, which handlers see.
"""

from __future__ import annotations
