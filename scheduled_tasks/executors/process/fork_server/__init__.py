"""The process that runs start from: loaded once, and their keeper while they go on.

The worker starts it afresh (``client``). It loads Django (``main``), forks children ahead, gives
each run to one, and ends what has to end (``server``); a child makes its run (``child``).
It tells the worker how each run ended, only when nothing of it is left. When the worker dies, or
its lease runs out, the server kills every run.
"""
