"""The app, as the release before."""
