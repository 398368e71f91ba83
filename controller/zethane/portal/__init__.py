"""The login page's process."""
