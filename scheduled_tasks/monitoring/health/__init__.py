"""Health: whether tasks are scheduled and run. Everything here only reads.

``report`` answers for ``checkscheduler``, within the bounds of ``check``. ``lateness`` and
``live_workers`` are the facts, ``invariants`` what is always true, ``violations`` what breaks it.
"""
