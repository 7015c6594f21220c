"""A dataset of a user's own arrays: what is asked for, where it stands, and how it is written."""
