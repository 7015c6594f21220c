"""The public functions, which `import eddyscope` offers. Each works on this process alone."""
