"""The app, as the release after."""
