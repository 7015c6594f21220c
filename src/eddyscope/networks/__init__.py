"""Networks that closures are made of: a module and its named layers. Uses torch."""
