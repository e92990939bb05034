"""Alerts: findings go in; rows, and messages in the outbox, come out.

Read ``raising`` first. ``findings`` has the sentences of what transactions find, ``scan`` looks for
the rest, ``clearing`` has the rules by which alerts end, ``reminders`` finds who is told of them
again. ``condition_settings`` and ``routing`` are the settings: what is on, and who is told.
Everything runs in the transaction of the caller, but for ``scan``, which has transactions of its
own and runs in a thread of one worker.
"""
