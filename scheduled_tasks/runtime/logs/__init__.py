"""What runs log and print: captured, limited, and passed on to the project's own logging.

Records (``capture``) and printed text (``printed_output``) go in, from any thread of a run, and
``LogLine`` messages go out to the run's recorder (``run_log``). ``console`` shows them on a
terminal for projects without LOGGING. Read ``run_log`` first, then ``capture``.
"""

from __future__ import annotations
