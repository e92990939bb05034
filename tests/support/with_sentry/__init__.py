"""An app of a project that reports its runs to Sentry, as the documentation says."""
