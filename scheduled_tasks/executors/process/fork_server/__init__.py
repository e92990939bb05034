"""The process from which runs are forked, and the supervisor of those runs.

The worker starts it in a fresh interpreter (``client``). It loads Django (``main``), forks spare
children, assigns each run to one and ends what has to end (``server``, a single thread). A child
makes its run (``child``). Frames from the worker go in, messages and the end of each run come out,
the latter only when nothing of the run is left. When the worker dies, or its lease runs out, the
server kills every run.

Read ``README.md`` first, which shows the states of a child and what each socket and pipe carries,
then ``server``.
"""
