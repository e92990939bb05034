"""PostgreSQL whose rows cannot be locked: only unique keys and guarded updates are left."""
