"""What only a look at the rows shows: each function yields findings, and writes nothing.

The scan of ``alerts`` calls them. ``late_slots`` and ``silence`` are about tasks that do not run,
``durations`` about runs that take too long or end too soon, ``fleet`` about schedulers and data.
``confirmed`` holds back what may pass, and ``later_slots`` tells when a late slot is over.
"""
