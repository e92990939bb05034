"""Where the code of an attempt runs. An executor is named by its dotted path in EXECUTOR."""
