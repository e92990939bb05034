"""The database backend; Django looks for the class of this name."""

from __future__ import annotations

from django.db.backends.postgresql import base, features


class DatabaseFeatures(features.DatabaseFeatures):
    """Says that SELECT … FOR UPDATE does not exist, so Django leaves it out."""

    has_select_for_update = False
    has_select_for_update_skip_locked = False
    has_select_for_no_key_update = False


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections without row locks."""

    features_class = DatabaseFeatures
