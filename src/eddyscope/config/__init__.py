"""Case files, the registries that name choices, and provenance. Imports no other room."""
