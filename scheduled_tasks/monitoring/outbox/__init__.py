"""The outbox: messages are written with what they report, claimed by a worker, and sent.

``messages`` writes, claims and records them, in transactions. ``sending`` sends one and touches no
row; a worker calls it in threads (``worker/deliveries.py``). ``held_messages`` follows maintenance
windows.
"""
